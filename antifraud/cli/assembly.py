"""Puts settings, dial plan, rules and model together into a decider; the options that say where those lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from antifraud.cli.rule_parameters import refuse_unfit
from antifraud.domain import AntifraudError, ConfigError, ModelError, Problem, UsageError
from antifraud.settings import Settings, load_settings

if TYPE_CHECKING:
    from antifraud.decision import Decider
    from antifraud.features import Limits
    from antifraud.numbering import Numbering
    from antifraud.scoring import Model

SCRATCH_BYTES: Final = 64 << 20
"""What windows may take that are thrown away at once."""

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(command: Command) -> Command:
    """The options that every command with a configuration takes; they arrive as ``where``."""
    for option in (
        click.option("--model", default="", metavar="NAME/VERSION", help="The model; 'none' decides by rules alone."),
        click.option(
            "--redis", default="", metavar="URL", help="Redis; by default REDIS_URL, then redis.url in config/."
        ),
        click.option("--rules", "rules_dir", default="", metavar="DIR", help="Directory of rules."),
        click.option("--config", "config_dir", default="", metavar="DIR", help="Directory of configuration."),
    ):
        command = option(command)
    return command


def read_settings(where: Mapping[str, Any]) -> Settings:
    """The settings after all layers, the command line's own (``where``) last. Raises ConfigError, UsageError."""
    overrides: dict[str, object] = {}
    if where.get("redis"):
        overrides["redis.url"] = where["redis"]
    if where.get("rules_dir"):
        overrides["rules"] = where["rules_dir"]
    if where.get("model"):
        overrides["model"] = None if where["model"] == "none" else where["model"]
    return load_settings(where.get("config_dir") or None, overrides=overrides)


def passed_on(where: Mapping[str, Any], redis: str) -> list[str]:
    """``where`` as arguments for another process of ours, with ``redis`` as its Redis."""
    arguments = [f"--{key.removesuffix('_dir')}={value}" for key, value in where.items() if value and key != "redis"]
    return [*arguments, f"--redis={redis}"]


def build_numbering(settings: Settings, *, warm: bool) -> Numbering:
    """Facts about numbers by the configured dial plan; ``warm`` compiles every country before the first call."""
    from antifraud.numbering import Numbering, load_dial_plan

    numbering = Numbering(load_dial_plan(settings.dial_plan_path))
    if warm:
        numbering.warm()
    return numbering


def memory_limits(settings: Settings) -> Limits:
    """How much the fold may hold by ``features.memory_limit``; ConfigError, with its place, when that is too little."""
    from antifraud.features import Limits

    try:
        return Limits.of_memory(settings.features.memory_bytes)
    except ConfigError as error:
        where = settings.where("features.memory_limit")
        problems = [Problem(f"features.memory_limit: {one.message}", where, one.hint) for one in error.problems]
        raise ConfigError.of(problems) from None


def build_decider(settings: Settings, *, warm: bool, limits: Limits | None = None) -> Decider:
    """Everything that decides. Raises ConfigError, BundleError, ModelError with what is wrong and where.

    ``warm`` compiles and runs every part once, so that the first call is no slower than the next. ``limits`` take the
    place of those that the settings give the windows.
    """
    from antifraud.decision import Decider, load_bundle
    from antifraud.features import Fold, Limits

    model = None
    if settings.model_dir is not None:
        from antifraud.scoring import Model

        model = Model.load(settings.model_dir)
    challenger, refused = _challenger(settings)
    bundle = load_bundle(settings.rules_dir, settings.utc_offset_min)
    refuse_unfit(settings, bundle.rules.defaults)
    policy, numbering = settings.policy(), build_numbering(settings, warm=warm)
    if warm:
        scratch = Fold(bundle.windows, limits=Limits.of_memory(SCRATCH_BYTES))
        _warm_up(Decider(bundle, policy, numbering, model, fold=scratch, challenger=challenger))
    fold = Fold(bundle.windows, limits=limits if limits is not None else memory_limits(settings))
    decider = Decider(bundle, policy, numbering, model, fold=fold, challenger=challenger)
    decider.challenger_refused = decider.challenger_refused or refused
    return decider


def _challenger(settings: Settings) -> tuple[Model | None, AntifraudError | None]:
    """The model that only scores, or why it cannot be had: that is no reason not to decide."""
    try:
        if settings.challenger_dir is None:
            return None, None
        from antifraud.scoring import Model

        return Model.load(settings.challenger_dir), None
    except (ConfigError, ModelError) as error:
        return None, error


def _warm_up(scratch: Decider) -> None:
    """Decide about made-up calls with a decider that is thrown away: kernels, model and rules have then all run once.

    Without it the first calls after a start would wait hundreds of milliseconds, which is longer than their deadline.
    """
    from antifraud.domain import CallEvent, EventKind

    for size in (1, 2, 16, 128, 512):
        calls = [
            CallEvent(
                kind=kind, call_id=f"{size}-{n}", ts=1.8e9 + n, switch="warm-up", trunk=f"intl-{n % 3}",
                caller_raw=f"+7700000{n % 50:04}", callee_raw=f"8701000{n:04}", talk_s=3.0,
            )
            for n in range(size)
            for kind in (EventKind.SETUP, EventKind.ANSWER, EventKind.RELEASE, EventKind.REPORT)
        ]  # fmt: skip
        scratch.decide(calls)
        scratch.fold.probe(calls[:1], [calls[0].ts])


def assemble(where: Mapping[str, Any], *, live: bool = False) -> tuple[Settings, Decider]:
    """Settings and the decider built from them."""
    settings = read_settings(where)
    if not settings.dial_plan_path.is_file():
        raise UsageError(f"there is no dial plan {settings.dial_plan_path}", hint="dial_plan in config/ names it")
    return settings, build_decider(settings, warm=live)
