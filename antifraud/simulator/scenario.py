"""Scenario files: what a simulated country is assumed to be like, as ranges, and one drawing of it per seed.

A value in a scenario is a number, a range ``[low, high]`` (uniform; whole numbers give whole numbers) or
``{log: [low, high]}`` (uniform in the logarithm). What stands in ``fraud.kinds`` and ``fraud.adaptive`` is drawn once
per campaign, everything else once per seed, so that no constant of the generator gives fraud away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import yaml

from antifraud.domain import ConfigError, Location, Problem

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Hour = Annotated[int, msgspec.Meta(ge=0, le=24)]


class Span(msgspec.Struct, frozen=True):
    """A range to draw from: uniform, or uniform in the logarithm."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """One value of the range."""
        if self.log:
            return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        return float(rng.uniform(self.low, self.high))


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section in which a misspelt name is an error."""


class Population(_Strict, frozen=True):
    """Who lives here. ``subscribers`` 0 means: as many as the call volume needs at ``calls_per_day`` each.

    ``ported_share`` of the mobile numbers are with another operator than their prefix says. ``dual_sim_share`` of
    pairs of numbers live in one handset. A SIM card lasts ``sim_days``, a handset ``handset_days``; 0: for ever.
    """

    subscribers: Count
    calls_per_day: Positive
    activity_skew: Annotated[float, msgspec.Meta(ge=1.0, le=3.0)]
    mobile_share: Share
    fresh_share: Share
    circle_share: Share
    work_share: Share
    business_share: Share
    regions: dict[str, Positive]
    ported_share: Share = 0.0
    dual_sim_share: Share = 0.0
    sim_days: Count = 0
    handset_days: Count = 0


class Rhythm(_Strict, frozen=True):
    """Weight of every local hour for calls between people, and the factor at weekends.

    ``holiday`` is the factor on a holiday of rules/calendar.yaml, on which organisations keep the hours of a Sunday;
    without it no day is a holiday. ``shift_h`` turns the hours by so much, ``jitter`` is the spread (of the logarithm)
    with which every hour deviates.
    """

    hours_of_day: Annotated[list[Annotated[float, msgspec.Meta(ge=0.0)]], msgspec.Meta(min_length=24, max_length=24)]
    weekend: Positive
    holiday: Positive | None = None
    shift_h: Annotated[float, msgspec.Meta(ge=-12.0, le=12.0)] = 0.0
    jitter: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0


class Persons(_Strict, frozen=True):
    """Calls between people: how they are answered, how long they last, and what is special about a few.

    ``callback_share`` of missed calls are returned, half of them within ``callback_delay_s`` seconds; ``redial_share``
    are tried again by the caller, half within ``redial_delay_s``. ``abroad_heavy_share`` of the people make a third
    of their calls abroad. ``spread`` is how far people differ from each other in talking and answering.
    """

    answer: Share
    ring_s: Positive
    talk_s: Positive
    talk_sigma: Positive
    emergency_share: Share
    short_code_share: Share
    anonymous_share: Share
    diverted_share: Share
    outbound_abroad_share: Share
    abroad_heavy_share: Share = 0.0
    callback_share: Share = 0.0
    callback_delay_s: Positive = 600.0
    redial_share: Share = 0.0
    redial_delay_s: Positive = 90.0
    spread: Share = 0.0


class Foreign(_Strict, frozen=True):
    """People abroad who call home numbers, as a share of all calls, and how often each of them does."""

    share: Share
    calls_per_day: Positive
    activity_skew: Annotated[float, msgspec.Meta(ge=1.0, le=4.0)] = 1.3


class Roaming(_Strict, frozen=True):
    """Home subscribers abroad: share of all calls; of these, how many the switch does not recognise as roaming."""

    share: Share
    subscribers_share: Share
    unknown_share: Share
    denied_share: Share
    activity_skew: Annotated[float, msgspec.Meta(ge=1.0, le=4.0)] = 1.0


class Organisation(_Strict, frozen=True):
    """Honest heavy callers of one trade. ``share`` is of all calls; ``lines`` is how many numbers one of them has.

    ``hangs_up_share`` of the calls that nobody answers are given up by the caller after ``ring_s``. Of the answered
    ones ``abandoned_share`` are dropped at once, because no agent is free (a predictive dialler). ``redial_share`` and
    ``callback_share`` of the missed ones are tried again, or returned by the person called.
    """

    share: Share
    origin: Literal["fixed", "mobile", "foreign", "short"]
    callees: Literal["region", "anywhere", "regulars", "block", "abroad"]
    lines: Annotated[int, msgspec.Meta(ge=1)]
    calls_per_line_hour: Positive
    open: Hour
    close: Hour
    weekend: Annotated[float, msgspec.Meta(ge=0.0)]
    answer: Share
    ring_s: Positive
    talk_s: Positive
    talk_sigma: Positive
    asserted_share: Share = 0.0
    hangs_up_share: Share = 0.0
    abandoned_share: Share = 0.0
    redial_share: Share = 0.0
    callback_share: Share = 0.0


class Network(_Strict, frozen=True):
    """How many trunks of each class there are."""

    international: Annotated[int, msgspec.Meta(ge=1)]
    national: Annotated[int, msgspec.Meta(ge=1)]
    subscriber: Annotated[int, msgspec.Meta(ge=1)]


class Delivery(_Strict, frozen=True):
    """How events reach the log where they do not come as they happen (``simulate(as_delivered=True)``).

    ``duplicate_share`` of events come twice, ``late_share`` come late: half of them within ``late_s`` seconds, none
    later than ten minutes.
    """

    duplicate_share: Share = 0.0
    late_share: Share = 0.0
    late_s: Positive = 5.0


class Reports(_Strict, frozen=True):
    """Who complains: share of answered fraud calls, share of honest calls of organisations, and the median delay.

    Missed fraud calls are reported ``missed_factor`` times as often as answered ones. ``misdirected_share`` of the
    complaints about fraud name another call of the same minutes.
    """

    fraud_share: Share
    wrong_share: Share
    delay_h: Positive
    missed_factor: Share = 0.0
    misdirected_share: Share = 0.0


class Adaptive(_Strict, frozen=True):
    """How campaigns react to being blocked; every campaign draws its own values.

    ``share`` of the campaigns react. Where nobody tells the simulator what was stopped, a number is taken to be
    blocked after about ``calls_per_number`` calls; where somebody does, it is given up after about
    ``stops_per_number`` stopped calls. After about ``numbers_per_route`` numbers the campaign takes other trunks and
    peers, with a pause of about ``pause_s`` seconds.
    """

    share: Span
    calls_per_number: Span
    stops_per_number: Span
    numbers_per_route: Span
    pause_s: Span


class Fraud(_Strict, frozen=True):
    """Share of all calls that campaigns make, how many campaigns run at least, and the ranges of every kind."""

    share: Annotated[float, msgspec.Meta(ge=0.0, le=0.5)]
    concurrent: Annotated[int, msgspec.Meta(ge=1)]
    kinds: dict[str, dict[str, Span]]
    adaptive: Adaptive | None = None


class Settings(_Strict, frozen=True):
    """One drawing of a scenario."""

    name: str
    summary: str
    assumptions: list[str]
    sources: list[str]
    utc_offset_min: Annotated[int, msgspec.Meta(ge=-840, le=840)]
    population: Population
    rhythm: Rhythm
    persons: Persons
    foreign: Foreign
    roaming: Roaming
    organisations: dict[str, Organisation]
    network: Network
    reports: Reports
    fraud: Fraud
    delivery: Delivery = Delivery()
    held_out: bool = False
    """Measured on, never trained on."""


class Scenario(msgspec.Struct, frozen=True):
    """A scenario file as it stands: ranges not yet drawn. ``marks`` says where every value is written."""

    path: str
    tree: Mapping[str, Any]
    marks: Mapping[str, Location]

    @property
    def name(self) -> str:
        """The scenario's own name."""
        return str(self.tree["name"])

    @property
    def held_out(self) -> bool:
        """Whether the scenario is for measuring only."""
        return self.tree.get("held_out") is True

    def draw(self, seed: int) -> Settings:
        """The settings of ``seed``: every range replaced by one value, but those drawn per campaign."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0x5CE7A810])))
        try:
            drawn = _drawn(self.tree, "$", rng)
        except _RangeError as error:
            raise _located(self, error.path, str(error)) from error
        return _convert(self, drawn)


_KINDS_PATH: Final = "$.fraud.kinds"
_ADAPTIVE_PATH: Final = "$.fraud.adaptive"
_PLAIN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PATH: Final = re.compile(r"`(\$[^`]*)`")


def load_scenario(path: Path) -> Scenario:
    """The scenario in the YAML file at ``path``; ConfigError with file, line and column when it cannot be meant.

    ``extends: <name>`` takes what the file does not say from the scenario of that name beside it. ``null`` takes a
    campaign kind, or anything else that may be absent, out again.
    """
    tree, marks = _parsed(path)
    if "extends" in tree:
        tree, marks = _extended(path, tree, marks)
    scenario = Scenario(path=str(path), tree=tree, marks=marks)
    scenario.draw(0)  # every mistake shows when the file is read, not with an unlucky seed
    return scenario


def _parsed(path: Path) -> tuple[dict[str, Any], dict[str, Location]]:
    """The tree of the file and where every value stands in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        hint = "see config/scenarios/ for the scenarios that there are, or give the path of a YAML file"
        raise ConfigError(f"cannot read scenario {path}: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}", hint="save the file as UTF-8") from error
    try:
        node = yaml.compose(text, Loader=_LOADER)
        marks = dict(_marks(node, "$", str(path))) if node is not None else {}
        tree = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, in C where there is one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = Location(str(path), mark.line + 1, mark.column + 1) if mark else Location(str(path))
        problem = Problem(f"not valid YAML: {error.problem}", where, hint="check the indentation and the quotes here")
        raise ConfigError.of([problem]) from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a scenario is a mapping of sections", hint="begin with `name:` and `population:`")
    return tree, marks


def _extended(
    path: Path, tree: dict[str, Any], marks: dict[str, Location]
) -> tuple[dict[str, Any], dict[str, Location]]:
    wanted = tree.pop("extends")
    where = marks.get("$.extends", Location(str(path)))
    if not isinstance(wanted, str) or not _PLAIN_NAME.fullmatch(wanted):
        hint = "give the name of a scenario beside this one, without folder and ending"
        raise ConfigError.of([Problem(f"extends: {wanted!r} is no name of a scenario", where, hint=hint)])
    base, base_marks = _parsed(path.with_name(f"{wanted}.yaml"))
    if "extends" in base:
        hint = f"extend what {wanted} extends, and write down what differs"
        raise ConfigError.of([Problem(f"extends: {wanted} extends another scenario itself", where, hint=hint)])
    return _merged(base, tree), base_marks | marks


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for name, value in changes.items():
        below = found.get(name)
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict) and isinstance(below, dict) and "log" not in value and "log" not in below:
            found[name] = _merged(below, value)
        else:
            found[name] = value
    return found


def find_scenario(name: str, config_dir: Path) -> Path:
    """The file of the scenario called ``name`` (or the path ``name`` itself); ConfigError names those there are."""
    direct = Path(name)
    if direct.suffix in {".yaml", ".yml"} or direct.is_file():
        return direct
    folder = config_dir / "scenarios"
    found = folder / f"{name}.yaml"
    if not found.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "none"
        raise ConfigError(f"there is no scenario {name!r} in {folder}", hint=f"scenarios here: {known}")
    return found


def _marks(node: yaml.Node, path: str, file: str) -> Iterator[tuple[str, Location]]:
    yield path, Location(file, node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}"
            yield from _marks(value, below, file)
            yield f"{below}#key", Location(file, key.start_mark.line + 1, key.start_mark.column + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _marks(value, f"{path}[{index}]", file)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounds(value: object) -> tuple[Any, Any, bool] | None:
    """Low, high, logarithmic where ``value`` is written as a range; None where it is anything else."""
    if isinstance(value, dict) and set(value) == {"log"}:
        inner = _bounds(value["log"])
        return (inner[0], inner[1], True) if inner is not None else None
    if isinstance(value, list) and len(value) == 2 and all(_number(item) for item in value):
        return value[0], value[1], False
    return None


class _RangeError(Exception):
    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def _span(value: Any, path: str) -> dict[str, object]:
    bounds = (value, value, False) if _number(value) else _bounds(value)
    if bounds is None:
        raise _RangeError(path, f"{value!r} is neither a number nor a range")
    _check_bounds(bounds, path)
    return {"low": float(bounds[0]), "high": float(bounds[1]), "log": bounds[2]}


def _check_bounds(bounds: tuple[Any, Any, bool], path: str) -> None:
    low, high, log = bounds
    if not (np.isfinite(low) and np.isfinite(high)):
        raise _RangeError(path, "a range needs finite ends")
    if low > high:
        raise _RangeError(path, f"the range runs backwards, {low} > {high}")
    if log and low <= 0:
        raise _RangeError(path, f"a logarithmic range begins above 0, not at {low}")


def _drawn(value: object, path: str, rng: np.random.Generator) -> Any:
    if path == _KINDS_PATH and isinstance(value, dict):
        return {
            kind: {name: _span(item, f"{path}.{kind}.{name}") for name, item in spans.items()}
            if isinstance(spans, dict)
            else spans
            for kind, spans in value.items()
        }
    if path == _ADAPTIVE_PATH and isinstance(value, dict):
        return {name: _span(item, f"{path}.{name}") for name, item in value.items()}
    bounds = _bounds(value)
    if bounds is not None:
        _check_bounds(bounds, path)
        low, high, log = bounds
        whole = isinstance(low, int) and isinstance(high, int)
        if log:
            drawn = Span(float(low), float(high), True).draw(rng)
            return round(drawn) if whole else drawn
        return int(rng.integers(low, high + 1)) if whole else float(rng.uniform(low, high))
    if isinstance(value, dict):
        return {str(name): _drawn(item, f"{path}.{name}", rng) for name, item in value.items()}
    if isinstance(value, list):
        return [_drawn(item, f"{path}[{index}]", rng) for index, item in enumerate(value)]
    return value


def _convert(scenario: Scenario, drawn: object) -> Settings:
    try:
        return msgspec.convert(drawn, Settings)
    except msgspec.ValidationError as error:
        text = str(error)
        found = _PATH.search(text)
        path = _spelt_out(found.group(1)) if found else "$"
        message = _PATH.sub("", text).replace(" - at", "").strip()
        unknown = re.search(r"unknown field `([^`]*)`", text)
        if unknown:
            path = f"{path}.{unknown.group(1)}#key"
        raise _located(scenario, path, message) from error


def _spelt_out(path: str) -> str:
    # msgspec writes `[...]` for a key of a mapping; the nearest known place above it has to do.
    return path.split("[...]")[0]


def _located(scenario: Scenario, path: str, message: str) -> ConfigError:
    place = path
    while place not in scenario.marks and "." in place:
        place = place.rsplit(".", 1)[0]
    where = scenario.marks.get(place, Location(scenario.path))
    shown = path.removesuffix("#key").removeprefix("$.").removeprefix("$") or "the file"
    problem = Problem(
        f"{shown}: {message[:1].lower()}{message[1:]}",
        where,
        hint="a value is a number, a range [low, high] or {log: [low, high]}; config/scenarios/national.yaml shows all",
    )
    error = ConfigError.of([problem])
    assert isinstance(error, ConfigError)
    return error
