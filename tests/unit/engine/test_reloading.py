"""Reloading with the process that really compiles: what comes back, what is refused and how that is said."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antifraud.cli.assembly import build_numbering
from antifraud.decision import Bundle, Decider, load_bundle
from antifraud.domain import AntifraudError
from antifraud.engine import reloading
from antifraud.engine.compiling import Request, compile_bundle, program_digest
from antifraud.engine.reloading import Loaded, Reloader, RulesPlace
from antifraud.engine.rules_state import rules_state
from antifraud.engine.run_time_lists import RunTimeLists
from antifraud.features import Fold, Limits
from antifraud.rulekit import Amendment, RuleSet
from antifraud.settings import load_settings

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = load_settings(env={})
NUMBERING = build_numbering(SETTINGS, warm=False)
OFFSET = SETTINGS.utc_offset_min
ONE = "packs/kz-callcentre/sequential_dialling.yaml"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The shipped rules, and lists of every kind."""
    folder = tmp_path / "rules"
    shutil.copytree(SETTINGS.rules_dir, folder)
    made = {
        "numbers": '["+77010000001", {value: "+77010000002", until: 2027-06-30}, "112"]',
        "prefixes": '["+77020", "00"]',
        "ranges": '["+77030000000-+77030000999", "+77030000500-+77030001999"]',
        "trunks": '["intl-9", "test-*"]',
        "user_agents": '["friendly-scanner"]',
    }
    for kind, entries in made.items():
        text = f"list: of_{kind}\ntitle: a list\nkind: {kind}\nowner: tests\nsource: made up\nentries: {entries}\n"
        (folder / "lists" / f"of_{kind}.yaml").write_text(text)
    text = "list: many\ntitle: many\nclass: protect\nkind: numbers\nowner: tests\nsource: made up\n"
    (folder / "lists" / "many.yaml").write_text(f"{text}entries_file: many.csv\n")
    (folder / "lists" / "many.csv").write_text("value,until\n+77040000001,\n+77040000002,2027-06-30\n")
    return folder


def decider(bundle: Bundle) -> Decider:
    fold = Fold(bundle.windows, limits=Limits(units=1_000, pairs_per_key=16, remembered=32))
    return Decider(bundle, SETTINGS.policy(), NUMBERING, fold=fold)


@pytest.fixture
def in_force(rules: Path) -> RunTimeLists:
    return RunTimeLists(decider(load_bundle(rules, OFFSET).without_sources()))


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def compare(name: str, loaded: Loaded, folder: Path) -> None:
    """The bundle is refused as the golden file says."""
    assert loaded.bundle is None
    assert loaded.error is not None
    shown = loaded.error.render().replace(f"{folder}/", "") + "\n"
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("ANTIFRAUD_GOLDEN") == "write":
        golden.write_text(shown, encoding="utf-8")
    assert shown == golden.read_text(encoding="utf-8")


def test_a_bundle_compiled_elsewhere_is_the_bundle_compiled_here(rules: Path, in_force: RunTimeLists) -> None:
    replace(rules / ONE, "neighbours: ", "neighbours: 1")
    replace(rules / "lists" / "many.csv", "+77040000001", "+77040000009")
    here = load_bundle(rules, OFFSET)
    loaded = Reloader(RulesPlace(rules, OFFSET), in_force).load()
    assert loaded.error is None
    assert loaded.bundle is not None
    found = loaded.bundle
    assert found.digest == here.digest != in_force.bundle.digest
    assert found.rules.packs == here.rules.packs
    assert found.rules.defaults == here.rules.defaults
    assert loaded.state == rules_state(rules)
    assert {name: item.stamp for name, item in found.rules.held.items()} == {
        name: item.stamp for name, item in here.rules.held.items()
    }
    for one, other in zip(found.rules.lists, here.rules.lists, strict=True):
        assert (one.name, one.kind, one.protects, one.removable) == (
            other.name, other.kind, other.protects, other.removable,
        )  # fmt: skip
        assert list(one.entries.plain()) == list(other.entries.plain())
    # Nothing that only people read is kept in memory.
    assert isinstance(here.rules, RuleSet)
    assert not isinstance(found.rules, RuleSet)


def test_lists_whose_files_did_not_change_are_neither_read_nor_made_again(rules: Path, in_force: RunTimeLists) -> None:
    before = in_force.bundle.rules.held
    replace(rules / ONE, "neighbours: ", "neighbours: 1")
    replace(rules / "lists" / "of_prefixes.yaml", "+77020", "+77021")
    loaded = Reloader(RulesPlace(rules, OFFSET), in_force).load()
    assert loaded.bundle is not None
    after = loaded.bundle.rules.held
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] is not before[name]} == {"of_prefixes"}
    # And the process that compiles does not read their entries.
    known = in_force.bundle.known_lists()
    shell = load_bundle(rules, OFFSET, known)
    assert shell.digest == loaded.bundle.digest
    assert {name: len(item.file.entries) for name, item in shell.rules.held.items() if len(item.file.entries)} == {
        "of_prefixes": 2
    }


def test_a_list_that_changed_has_its_run_time_changes_before_it_is_taken(rules: Path, in_force: RunTimeLists) -> None:
    added = [Amendment("many", f"+7705000{number:04}", id="1-0") for number in range(500)]
    for change in added:
        in_force._amendments.restore(change)
    in_force.take(in_force.bundle)
    with (rules / "lists" / "many.csv").open("a") as stream:
        stream.write("+77040000003,\n")
    loaded = Reloader(RulesPlace(rules, OFFSET), in_force).load()
    assert loaded.bundle is not None
    until = loaded.bundle.rules.held["many"].table.until
    assert until("+77050000499", 0.0) > 0.0
    assert until("+77040000003", 0.0) > 0.0
    # Two more changes, and one taken back, while it was being compiled.
    in_force._amendments.restore(Amendment("many", "+77060000001", id="2-0"))
    in_force._amendments.restore(Amendment("many", "+77050000000", until=1.0, id="2-1"))
    assert in_force.take(loaded.bundle, loaded.ahead) == 0
    assert until("+77060000001", 0.0) > 0.0
    assert until("+77050000000", 0.0) == 1.0
    # The digest is that of an engine which began with these files and these changes.
    fresh = RunTimeLists(decider(load_bundle(rules, OFFSET)))
    for change in in_force._amendments:
        fresh._amendments.restore(change)
    fresh.take(fresh.bundle)
    assert fresh._decider.bundle.digest == in_force._decider.bundle.digest


def test_what_is_wrong_is_said_as_if_it_were_compiled_here(rules: Path, in_force: RunTimeLists) -> None:
    replace(rules / ONE, "when: |", "when: |\n  no_such_field > 3 and")
    replace(rules / "lists" / "of_numbers.yaml", "+77010000001", "7701")
    (rules / "lists" / "many.csv").write_text("value\nnonsense\n")
    with pytest.raises(AntifraudError) as caught:
        load_bundle(rules, OFFSET)
    loaded = Reloader(RulesPlace(rules, OFFSET), in_force).load()
    assert loaded.bundle is None
    assert loaded.error is not None
    assert type(loaded.error) is type(caught.value)
    assert loaded.error.render() == caught.value.render()
    assert f"{rules / ONE}:" in loaded.error.render()
    assert loaded.state == rules_state(rules)


def test_other_windows_are_refused(rules: Path, in_force: RunTimeLists) -> None:
    replace(rules / "windows.yaml", "  caller_calls_1m:", "  caller_calls_60s:")
    replace(rules / "windows.yaml", "over: 1h", "over: 2h")
    for path in rules.glob("packs/*/*.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace("caller_calls_1m", "caller_calls_60s"))
    compare("windows-changed", Reloader(RulesPlace(rules, OFFSET), in_force).load(), rules)


def test_another_program_is_refused(rules: Path, in_force: RunTimeLists) -> None:
    reloader = Reloader(RulesPlace(rules, OFFSET), in_force)
    reloader._program = "that of yesterday"
    compare("program-changed", reloader.load(), rules)


def test_the_program_is_known_by_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from antifraud.engine import compiling

    root = Path(compiling.__file__).parent.parent
    for package in ("domain", "numbering", "features", "rulekit", "decision", "engine"):
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = program_digest()
    monkeypatch.setattr(compiling, "__file__", str(tmp_path / "engine" / "compiling.py"))
    assert program_digest() == before
    with (tmp_path / "rulekit" / "compiler.py").open("a") as stream:
        stream.write("# another line\n")
    assert program_digest() != before


def test_too_long_is_too_long(rules: Path, in_force: RunTimeLists) -> None:
    compare("too-long", Reloader(RulesPlace(rules, OFFSET), in_force, longest_s=0).load(), rules)


def test_too_large_is_too_large(rules: Path, in_force: RunTimeLists) -> None:
    compare("too-large", Reloader(RulesPlace(rules, OFFSET), in_force, memory=1 << 20).load(), rules)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory", "/rules")])
def test_memory_that_is_refused_is_too_large_whoever_refuses_it(
    rules: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from antifraud.engine import compiling

    def refuse(_request: compiling.Request, _stream: io.BytesIO) -> compiling.Reply:
        raise error

    monkeypatch.setattr(compiling, "compile_bundle", refuse)
    monkeypatch.setattr("resource.setrlimit", lambda _which, _limits: None)
    request = compiling.Request(str(rules), OFFSET, {}, "", 60, 1 << 50)
    reply = compiling.bounded_reply(request, io.BytesIO())
    assert not reply.crash
    assert "takes more than" in reply.problems[0].message


def test_a_process_that_is_killed_costs_one_reload(rules: Path, in_force: RunTimeLists) -> None:
    reloader = Reloader(RulesPlace(rules, OFFSET), in_force)
    ranks: list[int] = []

    def kill() -> None:
        while reloader._process is None:
            time.sleep(0.001)
        process = reloader._process
        deadline = time.monotonic() + 20
        while os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        ranks.append(os.getpriority(os.PRIO_PROCESS, process.pid) - os.getpriority(os.PRIO_PROCESS, 0))
        os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    loaded = reloader.load()
    killer.join()
    compare("killed", loaded, rules)
    assert ranks == [min(reloading.NICE, 19 - os.getpriority(os.PRIO_PROCESS, 0))]
    assert reloader.load().bundle is not None


@pytest.fixture
def instead_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs a shell script where Python would be run."""

    def put(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))

    return put


@pytest.mark.parametrize(("name", "script"), [("ended", "exit 3"), ("fault", "echo nonsense")])
def test_a_process_that_does_not_answer(
    rules: Path, in_force: RunTimeLists, instead_of_python: Callable[[str], None], name: str, script: str
) -> None:
    instead_of_python(script)
    compare(name, Reloader(RulesPlace(rules, OFFSET), in_force).load(), rules)


def test_no_process_at_all(rules: Path, in_force: RunTimeLists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(rules / "nowhere"))
    compare("not-started", Reloader(RulesPlace(rules, OFFSET), in_force).load(), rules)


def test_the_process_is_told_no_secrets(
    rules: Path,
    in_force: RunTimeLists,
    instead_of_python: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:secret@redis.example")
    instead_of_python(f"env > {tmp_path}/env")
    Reloader(RulesPlace(rules, OFFSET), in_force).load()
    said = (tmp_path / "env").read_text()
    assert "PATH=" in said
    assert "secret" not in said


def test_files_that_never_come_to_rest(rules: Path, in_force: RunTimeLists) -> None:
    stop = threading.Event()

    def touch() -> None:
        while not stop.is_set():
            os.utime(rules / ONE)
            time.sleep(0.001)

    request = Request(str(rules), OFFSET, {}, program_digest(), 60, 1 << 32)
    toucher = threading.Thread(target=touch)
    toucher.start()
    with (rules.parent / "bundle").open("wb") as stream:
        reply = compile_bundle(request, stream)
    stop.set()
    toucher.join()
    compare("never-at-rest", Loaded(None, reply.error, reply.state, 0.0), rules.parent)
    # Whoever watches the files looks at them again when they have come to rest.
    assert reply.state != rules_state(rules)


async def begun(reloader: Reloader) -> None:
    """Wait until the process is there."""
    deadline = time.monotonic() + 20
    while reloader._process is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def results(reloader: Reloader, seconds: float) -> list[Loaded]:
    """What comes of everything that was asked for."""
    found: list[Loaded] = []
    deadline = time.monotonic() + seconds
    while reloader._task is not None:
        assert time.monotonic() < deadline
        loaded = reloader.poll()
        if loaded is not None:
            found.append(loaded)
        await asyncio.sleep(0.01)
    return found


async def test_what_is_asked_for_meanwhile_is_done_once_more_and_the_last_edit_wins(
    rules: Path, in_force: RunTimeLists
) -> None:
    reloader = Reloader(RulesPlace(rules, OFFSET), in_force)
    assert reloader.poll() is None
    reloader.request()
    await begun(reloader)
    for turn in range(1, 6):
        replace(rules / ONE, "owner: ", f"owner: {turn}")
        reloader.request()
    found = await results(reloader, 60)
    assert len(found) == 2
    assert found[-1].bundle is not None
    assert found[-1].bundle.digest == load_bundle(rules, OFFSET).digest


async def test_closing_ends_what_is_going_on(rules: Path, in_force: RunTimeLists) -> None:
    reloader = Reloader(RulesPlace(rules, OFFSET), in_force)
    reloader.request()
    await begun(reloader)
    process: Any = reloader._process
    await asyncio.wait_for(reloader.close(), 5)
    assert process.poll() == -signal.SIGKILL
    assert reloader.poll() is None
