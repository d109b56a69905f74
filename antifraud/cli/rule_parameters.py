"""Whether what regions set of the rules' parameters fits the rules, told at the place in config/ that says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from antifraud.domain import BundleError, ConfigError, Problem
from antifraud.settings.load import MAX_PROBLEMS

if TYPE_CHECKING:
    from antifraud.rulekit.form import Value
    from antifraud.settings import Settings


def check_rule_parameters(settings: Settings) -> None:
    """Check what the regions set against the rules directory in force.

    ConfigError with every problem; BundleError when a rule's file cannot be read; UsageError when the directory does
    not exist. Where no region sets a parameter no rule is looked at, and only those rules are read of which one is set.
    """
    wanted = {rule for region in settings.regions.values() for rule in region.policy.rules}
    if not wanted:
        return
    from antifraud.rulekit.declared_params import read_declared_params

    declared = read_declared_params(settings.rules_dir, wanted)
    if declared.problems:
        raise BundleError.of(declared.problems)
    refuse_unfit(settings, declared.by_rule)


def refuse_unfit(settings: Settings, declared: Mapping[str, Mapping[str, Value]], *, partial: bool = False) -> None:
    """ConfigError, with file, line and column, where a region sets what the ``declared`` parameters do not take.

    ``partial`` passes over rules that are not there: those ``declared`` are some that are tried out.
    """
    from antifraud.rulekit.evaluation import fit_params

    # What default.yaml says holds in every region, and is told once.
    problems: dict[Problem, None] = {}
    for code, region in settings.regions.items():
        _values, unfit = fit_params(region.policy.rules, declared)
        for item in unfit:
            if partial and not item.param:
                continue
            problem, path = item.problem, ["policy", "rules", item.rule]
            if item.param:
                path.append(item.param)
            else:
                problem = msgspec.structs.replace(problem, message=f"{problem.message} in {settings.rules_dir}")
            problems[settings.placed(problem, path, code, key=item.unknown)] = None
    if problems:
        shown = list(problems)[:MAX_PROBLEMS]
        if len(problems) > MAX_PROBLEMS:
            shown.append(Problem(f"and {len(problems) - MAX_PROBLEMS} more problems"))
        raise ConfigError.of(shown)
