"""What the tests of rules are replayed with: the windows of a rules directory, the configuration in force.

Everything is loaded when the first test with events comes along; rules that have none wait for nothing.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING

import msgspec

from antifraud.cli.rules_folder import vocabulary_files
from antifraud.domain import Problem, UsageError
from antifraud.rulekit import Replay, RuleSet, RuleTest, load_fields
from antifraud.rulekit.window_names import read_own_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from antifraud.numbering import Numbering
    from antifraud.rulekit.form import Value
    from antifraud.settings import Settings


def replay_of(folder: Path, rules: RuleSet, config_dir: str | None = None) -> Replay:
    """Replays the tests of ``rules``, which lie in ``folder``, by the configuration in ``config_dir`` or in force.

    Local time is that of the rules, as for every test. Raises ConfigError and BundleError, when it is first called,
    with what is wrong with configuration or windows.
    """

    @functools.cache
    def made() -> Replay:
        from antifraud.backtest.stream_replay import StreamReplay
        from antifraud.decision.bundle import load_window_set
        from antifraud.settings import load_settings

        settings = load_settings(config_dir)
        fields_file, windows_file = vocabulary_files(folder)
        offset = rules.names.local.utc_offset_min
        windows = load_window_set(windows_file, load_fields(fields_file), offset, read_own_windows(folder))
        policy = msgspec.structs.replace(settings.policy(), utc_offset_min=offset)
        return StreamReplay(windows, policy, _numbers(settings))

    def replay(test: RuleTest) -> Sequence[Mapping[str, Value | None]]:
        if made.cache_info().currsize:
            return made()(test)
        with _patience(sys.stderr):
            return made()(test)

    return replay


@contextlib.contextmanager
def _patience(stream: TextIO) -> Iterator[None]:
    """Says on a terminal, for as long as it takes, why the first replay can take a while."""
    if not stream.isatty():
        yield
        return
    stream.write("replaying events (the first time ever, what folds them is compiled: up to a minute) …")
    stream.flush()
    try:
        yield
    finally:
        stream.write("\r\033[K")
        stream.flush()


def _numbers(settings: Settings) -> Callable[[str, RuleTest], Numbering]:
    """The numbers of a country, each read once."""
    from antifraud.numbering import Numbering, load_dial_plan

    @functools.cache
    def read(path: Path) -> Numbering:
        return Numbering(load_dial_plan(path))

    def numbers(country: str, test: RuleTest) -> Numbering:
        path = settings.dial_plan_path
        if country and country != settings.country:
            path = path.with_name(f"{country.lower()}.yaml")
        if not path.is_file():
            said = f"{test.name}: there is no dial plan {path}"
            hint = "write one, or remove country from the test" if country else "dial_plan in config/ names it"
            raise UsageError.of([Problem(said, test.where, hint)])
        return read(path)

    return numbers
