"""``antifraud model certificate``: the certificate of a model on fresh seeds, each kept so that a run can go on."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.cli.labelled_events import seed_numbers, sources, wanted
from antifraud.domain import UsageError

if TYPE_CHECKING:
    from antifraud.backtest.seed_trials import Trial
    from antifraud.cli.model_evaluate import Contests
    from antifraud.scoring import Model

_MOST_KEPT: Final = 1 << 20
"""A kept trial is a few kilobytes; a longer file is something else."""
_MOST_SEEDS: Final = 1000
_DAY_S: Final = 86_400.0


class _Asked(msgspec.Struct, frozen=True):
    """One seed to run, as it is sent to another process."""

    directory: str
    scenario: str
    seed: int
    calls: int
    rules_dir: str
    config_dir: str
    seal: str


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--seeds", default="921-940", show_default=True, metavar="1-8", help="Seeds; none of the training.")
@click.option(
    "--calls", type=click.IntRange(100), default=60_000, show_default=True,
    help="Calls of each, in a day; those while its engine is new come on top and are not counted.",
)  # fmt: skip
@click.option(
    "--scenario", "scenarios", multiple=True, default=("national",), show_default=True,
    help="The scenario; may be given several times, each is judged by itself.",
)  # fmt: skip
@click.option("--rules", "rules_dir", default="", metavar="DIR", help="Directory of rules.")
@click.option("--config", "config_dir", default="", metavar="DIR", help="Directory of configuration.")
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep each seed's result here, and go on.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Seeds at the same time.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
@click.pass_context
def certificate(
    context: click.Context,
    directory: Path,
    seeds: str,
    calls: int,
    scenarios: tuple[str, ...],
    rules_dir: str,
    config_dir: str,
    keep: Path | None,
    processes: int,
    as_json: bool,
) -> None:
    """Put the certificate of the model in DIRECTORY to the test on --seeds that it was not trained on.

    For each seed: honest calls whose score reaches block and divert, and whether that violates the budget with 95 %
    confidence. Of 20 seeds 3 may by chance. Exit code 0: the certificate holds; 1: more seeds than chance allows are
    violated, or all together are; 2: used wrongly.
    """
    from antifraud.backtest.seed_trials import summary
    from antifraud.cli.model_evaluate import contests
    from antifraud.scoring import Model
    from antifraud.settings import data_dir
    from antifraud.simulator import find_scenario, load_scenario

    numbers = seed_numbers(seeds)
    if not 0 < len(numbers) <= _MOST_SEEDS:
        raise UsageError(f"--seeds names {len(numbers):,} seeds", hint=f"1 to {_MOST_SEEDS:,}, for instance 921-940")
    if len({Path(scenario).stem for scenario in scenarios}) != len(scenarios):
        raise UsageError("--scenario names one twice", hint="each once")
    for scenario in scenarios:
        load_scenario(find_scenario(scenario, data_dir("config", config_dir or None)))
    loaded = Model.load(directory)
    _refuse_known(loaded, numbers, scenarios)
    seal = _seal(contests(loaded, rules_dir, config_dir), calls)
    asked = [
        _Asked(str(directory), scenario, seed, calls, rules_dir, config_dir, seal)
        for scenario in scenarios
        for seed in numbers
    ]
    trials = _trials(asked, keep, processes)
    found = summary(trials) | {"model": loaded.id, "calls_each": calls}
    if as_json:
        content = found | {"trials": trials}
        click.echo(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())
    else:
        _say(found, trials)
    context.exit(0 if found["held"] else 1)


def _refuse_known(loaded: Model, numbers: Sequence[int], scenarios: Sequence[str]) -> None:
    known = set(loaded.manifest.training.get("seeds", [])) & set(numbers)
    if known and loaded.manifest.training.get("scenario") in scenarios:
        raise UsageError(
            f"seed {min(known)} is one that {loaded.id} was trained on: it proves nothing",
            hint="give fresh ones, for instance --seeds 921-940",
        )


def _seal(fresh: Contests, calls: int) -> str:
    """What a kept result must have been made with to count: the model, the rules, the configuration, the calls."""
    return f"{fresh.model.id} bundle {fresh.bundle.digest} configuration {fresh.policy.digest} calls {calls}"


def _trials(asked: Sequence[_Asked], keep: Path | None, processes: int) -> list[Trial]:
    """The results in the order in which they were asked for: kept ones, and those that are run now."""
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make {keep}: {error.strerror or error}", hint="name a directory") from error
    found: dict[int, Trial] = {}
    for at, one in enumerate(asked):
        kept = _kept(keep, one)
        if kept is not None:
            found[at] = kept
    left = [at for at in range(len(asked)) if at not in found]
    if found:
        click.echo(f"{len(found)} of {len(asked)} seeds are kept from before", err=True)
    done = len(found)

    def took(at: int, result: Trial) -> None:
        nonlocal done
        found[at] = result
        done += 1
        _keep(keep, asked[at], result)
        if sys.stderr.isatty():
            block = result.levels["block"]
            word = "violated" if block.violated else "holds"
            click.echo(
                f"{done}/{len(asked)} {result.scenario} seed {result.seed}: {block.honest_calls}, {word}", err=True
            )

    if processes == 1 or len(left) == 1:
        for at in left:
            took(at, _run(asked[at]))
    elif left:
        from multiprocessing import get_context

        # Fresh processes: nothing of one seed stays in memory for the next, and numba's threads are not forked.
        pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), max_tasks_per_child=8)
        with pool:
            futures: dict[Future[Trial], int] = {pool.submit(_run, asked[at]): at for at in left}
            for future in as_completed(futures):
                took(futures[future], future.result())
    return [found[at] for at in range(len(asked))]


def _run(one: _Asked) -> Trial:
    from antifraud.backtest.seed_trials import trial
    from antifraud.cli.model_evaluate import contests, subject_of
    from antifraud.scoring import Model

    loaded = Model.load(Path(one.directory))
    fresh = contests(loaded, one.rules_dir, one.config_dir)
    if _seal(fresh, one.calls) != one.seal:
        raise UsageError(
            "the model, the rules or the configuration changed while this ran",
            hint="start it again when they are as they shall be",
        )
    contest = fresh.contest()
    # A day of an engine that knows its callers: a certificate is about calls that the score may stop.
    after_s = fresh.policy.warm_up_s
    days = 1.0 + after_s / _DAY_S
    source = wanted((), str(one.seed), round(one.calls * days), days, one.scenario, one.config_dir)
    for name, items in sources(source):
        contest.add(items, name)
    return trial(contest.calls(), subject_of(loaded), Path(one.scenario).stem, one.seed, one.seal, after_s)


def _place(keep: Path, one: _Asked) -> Path:
    return keep / f"{Path(one.scenario).stem}-{one.seed}.json"


def _kept(keep: Path | None, one: _Asked) -> Trial | None:
    from antifraud.backtest.seed_trials import read_trial

    if keep is None:
        return None
    try:
        path = _place(keep, one)
        found = read_trial(path.read_bytes(), one.seal) if path.stat().st_size <= _MOST_KEPT else None
    except OSError:
        return None
    return found if found is not None and found.seed == one.seed else None


def _keep(keep: Path | None, one: _Asked, result: Trial) -> None:
    if keep is None:
        return
    path = _place(keep, one)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror or error}", hint="check the directory") from error


def _say(found: Mapping[str, Any], trials: Sequence[Trial]) -> None:
    from antifraud.cli.model_evaluate import table

    rows: list[tuple[str, ...]] = [
        ("scenario", "seed", "honest", "at block", "at least", "", "at divert", "at least", "", "engine blocks")
    ]
    for one in trials:
        cells = [one.scenario, str(one.seed), f"{one.honest_calls:,}"]
        for level in (one.levels["block"], one.levels["divert"]):
            cells += [str(level.honest_calls), f"{level.at_least:.1e}", "VIOLATED" if level.violated else "holds"]
        rows.append((*cells, str(one.blocked)))
    table(rows)
    click.echo(f"\n{found['model']}")
    for one_scenario in found["scenarios"]:
        for name, level in one_scenario["levels"].items():
            click.echo(
                f"{one_scenario['scenario']}, {name}: {level['honest_calls']:,} of {one_scenario['honest_calls']:,} "
                f"honest calls, {level['share']:.1e} ({level['at_least']:.1e}-{level['at_most']:.1e}), budget "
                f"{level['budget']:.0e}; {level['violations']} of {one_scenario['seeds']} seeds violated, "
                f"chance allows {level['allowed']}: {'holds' if level['held'] else 'VIOLATED'}"
            )
