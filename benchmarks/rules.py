"""What evaluating rules costs: ``python benchmarks/rules.py`` prints JSON.

Microseconds a call, the best of several rounds over the same varied rows: the shipped packs, 100 and 1,000 synthetic
rules of six terms (``us_a_call``), and the same rules on calls that look at every term of every rule
(``us_a_call_all_terms``); one six-term condition beside the lambda that a programmer would have written by hand, and
beside simpleeval and Google's CEL where they are installed; the terms that ask for a pattern or the local time; and how
many rules a second the columns of a backtest evaluate. Everything is measured in the same run, so that the ratios mean
something on any machine. ``targets`` says what was aimed at and whether it was reached.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from antifraud.rulekit import Params, RuleSet, load_fields, load_rules, read_window_names
from antifraud.rulekit.columns import Column, code_texts

RULES = Path(__file__).parent.parent / "rules"
ROWS = 512
ROUNDS = 7
BACKTEST_ROWS = 262_144

SYNTHETIC = """\
rule: r{number}
title: synthetic
owner: benchmark
why: to be measured
false_positives: none
params: {{most: {most}}}
when: |
  trunk_class == "{trunk_class}"
  and caller_country != home_country
  and caller_callees_10m >= params.most
  and caller_short_share_1h > {share}
  and not callee_short
  and (missing(caller_age) or caller_age < {age})
then: {{verdict: divert, reason: "{{caller}} {{caller_callees_10m}}"}}
rollout: {{stage: enforce}}
tests: [{{name: a, expect: hit}}, {{name: b, expect: no_hit}}]
"""

NUMERIC = """\
  caller_callees_10m >= params.most
  and caller_short_share_1h > {share}
  and caller_calls_1m / caller_callees_10m < 0.9
  and not callee_short
  and caller_valid
  and (missing(caller_age) or caller_age < {age})
"""
"""The condition of a rule that reads numbers and yes/no only."""


def load(folder: Path) -> RuleSet:
    """The rules of ``folder`` with the product's fields and windows."""
    fields = load_fields(RULES / "fields.yaml")
    windows = read_window_names(RULES / "windows.yaml")
    return load_rules(folder, fields=fields, windows=windows, order=(*fields, *windows, "score"))


def synthetic(folder: Path, count: int, condition: str = "") -> RuleSet:
    """``count`` rules of six terms in one pack, each with numbers of its own."""
    rng = random.Random(7)
    pack = folder / "packs" / "synthetic"
    pack.mkdir(parents=True)
    form = SYNTHETIC
    if condition:
        head, tail = SYNTHETIC.split("when: |\n")
        form = f"{head}when: |\n{condition}{tail[tail.index('then:') :]}"
    for number in range(count):
        text = form.format(
            number=number,
            most=rng.randrange(20, 200),
            trunk_class=rng.choice(["international", "national", "subscriber"]),
            share=round(rng.random(), 2),
            age=rng.randrange(60, 100_000),
        )
        (pack / f"r{number}.yaml").write_text(text, encoding="utf-8")
    return load(folder)


def rows(rules: RuleSet) -> list[list[object]]:
    """Calls as traffic has them: most ordinary, some missing values, a few suspicious."""
    rng = random.Random(11)
    made = []
    for number in range(ROWS):
        foreign = rng.random() < 0.1
        given: dict[str, Any] = {
            "ts": 1_767_268_800.0 + number * 977.0,
            "caller": f"+1555{number:07d}" if foreign else f"+7700{number:07d}",
            "callee": f"+7701{rng.randrange(10**7):07d}",
            "trunk": "intl-1" if foreign else "sub-1",
            "trunk_class": "international" if foreign else rng.choice(["national", "subscriber"]),
            "caller_kind": "e164",
            "caller_type": "mobile",
            "caller_country": "US" if foreign else "KZ",
            "home_country": "KZ",
            "caller_possible": True,
            "caller_valid": True,
            "caller_short": False,
            "caller_anonymous": False,
            "caller_emergency": False,
            "callee_emergency": False,
            "callee_short": False,
            "user_agent": rng.choice(["Linphone/5.2", "Yealink T46S", "Kamailio", None]),
            "hour": float(rng.randrange(24)),
            "caller_calls_1m": 1.0,
            "caller_callees_10m": float(rng.choice([1, 2, 3, 5, 60])),
            "caller_sequential_10m": 0.0,
            "caller_short_share_1h": rng.choice([None, 0.1, 0.4, 0.7]),
            "caller_age": rng.choice([None, 3_600.0, 1e6]),
            "caller_reports_30d": 0.0,
            "callee_calls_1h": float(rng.randrange(4)),
            "callee_new_callers_2h": 0.0,
            "prefix_callers_10m": 40.0,
            "prefix_callees_10m": 90.0,
            "score": rng.random(),
        }
        made.append(rules.row(given))
    return made


def best(run: Callable[[], None], calls: int) -> float:
    """Microseconds a call in the best of the rounds."""
    fastest = float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter_ns()
        run()
        fastest = min(fastest, time.perf_counter_ns() - begun)
    return round(fastest / 1_000 / calls, 3)


def evaluating(rules: RuleSet) -> dict[str, Any]:
    """Microseconds a call, and how many of the rows were hit."""
    calls, params = rows(rules), rules.params({})
    repeats = max(1, 20_000 // (len(rules.rules) * ROWS // 100 + ROWS))

    def run(evaluate: Callable[[Sequence[object], Params], object] = rules.evaluate) -> None:
        for _ in range(repeats):
            for call in calls:
                evaluate(call, params)

    hit = sum(bool(rules.evaluate(call, params)) for call in calls)
    found = {"rules": len(rules.rules), "us_a_call": best(run, repeats * ROWS), "rows_hit": round(hit / ROWS, 3)}
    if rules.rules[0].pack != "synthetic":
        return found
    order = rules.names.order
    for call in calls:
        # Every term but the last is true of a third of the rules (those of its trunk class), whatever their figures.
        demanding = {
            "caller_country": "US", "home_country": "KZ", "caller_callees_10m": 1e6, "caller_short_share_1h": 1.0,
            "callee_short": False, "caller_age": 1e9,
        }  # fmt: skip
        for name, value in demanding.items():
            call[order[name]] = value
    return {**found, "us_a_call_all_terms": best(run, repeats * ROWS)}


def against_a_lambda(rules: RuleSet) -> dict[str, Any]:
    """One six-term rule, compiled, beside a lambda over the same row."""
    rule = rules.rules[0]
    order = rules.names.order
    trunk_class, country, home = order["trunk_class"], order["caller_country"], order["home_country"]
    callees, share = order["caller_callees_10m"], order["caller_short_share_1h"]
    short, age = order["callee_short"], order["caller_age"]
    most = float(rule.params["most"])  # type: ignore[arg-type]
    text = (RULES.parent / rule.where.file).read_text(encoding="utf-8")
    wanted_class = text.split('trunk_class == "')[1].split('"')[0]
    least = float(text.split("caller_short_share_1h > ")[1].split("\n")[0])
    oldest = float(text.split("caller_age < ")[1].split(")")[0])
    by_hand = eval(  # a literal lambda, with its numbers written in as a programmer would
        f"lambda r: r[{trunk_class}] == {wanted_class!r} and r[{country}] is not None and r[{home}] is not None"
        f" and r[{country}] != r[{home}] and r[{callees}] is not None and r[{callees}] >= {most}"
        f" and r[{share}] is not None and r[{share}] > {least} and r[{short}] is not None and not r[{short}]"
        f" and (r[{age}] is None or r[{age}] < {oldest})"
    )
    compiled = rules.compile_single(rule)
    calls = rows(rules)
    # Every term but the last is true: both have to look at all of them.
    given = {
        trunk_class: wanted_class, country: "US", home: "KZ", callees: most, share: 1.0, short: False, age: oldest,
    }  # fmt: skip
    for call in calls:
        for index, value in given.items():
            call[index] = value
    packed = [most]
    assert not by_hand(calls[0])
    assert not compiled(calls[0], packed)

    def lambda_run() -> None:
        for _ in range(100):
            for call in calls:
                by_hand(call)

    def compiled_run() -> None:
        for _ in range(100):
            for call in calls:
                compiled(call, packed)

    hand, ours = best(lambda_run, 100 * ROWS), best(compiled_run, 100 * ROWS)
    names = ("trunk_class", "caller_country", "home_country", "caller_callees_10m", "caller_short_share_1h",
             "callee_short", "caller_age")  # fmt: skip
    # They have no missing values, so every value is there; the dictionaries that they want are made beforehand.
    given_calls = [{name: call[order[name]] for name in names} for call in calls]
    shown = {"c": wanted_class, "m": most, "s": least, "o": oldest}
    return {
        "lambda_us": hand,
        "compiled_us": ours,
        "ratio": round(ours / hand, 2),
        "simpleeval_us": simpleeval_cost(given_calls, shown),
        "cel_us": cel_cost(given_calls, shown),
    }


def simpleeval_cost(calls: list[dict[str, Any]], shown: dict[str, Any]) -> float | None:
    """The same condition by simpleeval, parsed once; None where it is not installed."""
    try:
        import simpleeval
    except ImportError:
        return None
    text = (
        "trunk_class == {c!r} and caller_country != home_country and caller_callees_10m >= {m} and "
        "caller_short_share_1h > {s} and not callee_short and caller_age < {o}"
    ).format(**shown)
    parsed = simpleeval.SimpleEval.parse(text)
    engine = simpleeval.SimpleEval()

    def run() -> None:
        for call in calls:
            engine.names = call
            engine.eval(text, previously_parsed=parsed)

    return best(run, len(calls))


def cel_cost(calls: list[dict[str, Any]], shown: dict[str, Any]) -> float | None:
    """The same condition by Google's CEL, compiled once; None where it is not installed."""
    try:
        from cel_expr_python import cel
    except ImportError:
        return None
    kinds = {str: cel.Type.STRING, bool: cel.Type.BOOL, float: cel.Type.DOUBLE}
    environment = cel.NewEnv(variables={name: kinds[type(value)] for name, value in calls[0].items()})
    text = (
        "trunk_class == {c!r} && caller_country != home_country && caller_callees_10m >= {m} && "
        "caller_short_share_1h > {s} && !callee_short && caller_age < {o}"
    ).format(**shown)
    program = environment.compile(text)

    def run() -> None:
        for call in calls:
            program.eval(data=call).value()

    return best(run, len(calls))


def terms(folder: Path) -> dict[str, float]:
    """Microseconds of a call of one rule with one term, less those of the simplest one."""
    asked = {
        "missing": "missing(caller)",
        "number": "caller_calls_1m > 30",
        "prefix": 'prefix_in(caller, ["+999", "+888"])',
        "pattern_text_seen_before": 'matches(user_agent, "(?i)^zoiper|friendly.scanner")',
        "pattern_new_text": 'matches(caller, "(?i)^zoiper|friendly.scanner")',
        "night": "night() and missing(ts)",
        "weekend": "weekend() and missing(ts)",
        "holiday": "holiday() and missing(ts)",
    }
    found: dict[str, float] = {}
    for name, condition in asked.items():
        place = folder / name
        place.mkdir()
        (place / "calendar.yaml").write_bytes((RULES / "calendar.yaml").read_bytes())
        rules = synthetic(place, 1, f"  {condition}\n  and hour < params.most + {{share}} + {{age}}\n")
        compiled = rules.compile_single(rules.rules[0])
        calls, packed = rows(rules), [1e9]
        if name == "pattern_new_text":
            caller = rules.names.order["caller"]
            many = [[*call[:caller], f"+7700{number:07d}", *call[caller + 1 :]]
                    for number in range(20) for call in calls]  # fmt: skip
            for number, call in enumerate(many):
                call[caller] = f"+7700{number:07d}"
            calls = many

        def run(calls: list[list[object]] = calls, compiled: Any = compiled, packed: list[float] = packed) -> None:
            for _ in range(20_480 // len(calls)):
                for call in calls:
                    compiled(call, packed)

        found[name] = best(run, 20_480 // len(calls) * len(calls))
    return found


def in_columns(rules: RuleSet, *, unique: bool = False) -> dict[str, Any]:
    """How many rules a second are evaluated over columns, and that the answers are those of the rows.

    ``unique`` gives every row a caller and a callee of its own: the worst case for texts, which are asked about once
    each.
    """
    calls, params, order = rows(rules), rules.params({}), rules.names.order
    repeats = BACKTEST_ROWS // ROWS
    columns: dict[str, Column] = {}
    for name, position in order.items():
        slot = rules.names.slot(name)
        values: list[Any] = [call[position] for call in calls]
        if slot is None or all(value is None for value in values):
            continue
        if slot.type == "text":
            coded = code_texts(values)
            columns[name] = type(coded)(np.tile(coded.codes, repeats), coded.words)
        elif slot.type == "bool":
            columns[name] = np.tile(np.array([-1 if v is None else int(v) for v in values], dtype=np.int8), repeats)
        else:
            columns[name] = np.tile(np.array([np.nan if v is None else v for v in values]), repeats)
    n = ROWS * repeats
    if unique:
        for name in ("caller", "callee"):
            first = [str(call[order[name]]) for call in calls]
            columns[name] = code_texts([*first, *(f"+7702{number:07d}" for number in range(n - ROWS))])
    found = rules.evaluate_columns(columns, n, params)
    for number, call in enumerate(calls):
        hits = {hit.rule for hit in rules.evaluate(call, params)}
        assert hits == {key.removeprefix("list:") for key, mask in found.items() if mask[number]}

    def run() -> None:
        rules.evaluate_columns(columns, n, params)

    us = best(run, 1)
    return {
        "rules": len(found),
        "rows": n,
        "ms": round(us / 1_000, 1),
        "million_rules_a_second": round(n * len(found) / us),
    }


def targets(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was aimed at, what was measured, and whether that is enough."""
    limits = (
        ("100 rules, us a call", result["synthetic_100"]["us_a_call"], 10.0, False),
        ("100 rules looking at all terms, us a call", result["synthetic_100"]["us_a_call_all_terms"], 10.0, False),
        ("1,000 rules, us a call", result["synthetic_1000"]["us_a_call"], 100.0, False),
        ("1,000 rules looking at all terms, us a call", result["synthetic_1000"]["us_a_call_all_terms"], 100.0, False),
        ("six terms, times a lambda", result["six_terms"]["ratio"], 1.5, False),
        ("columns, million rules a second", result["columns"]["numeric_100"]["million_rules_a_second"], 20.0, True),
    )
    return {
        name: {"limit": limit, "found": found, "reached": found >= limit if more else found <= limit}
        for name, found, limit, more in limits
    }


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    begun = time.perf_counter()
    shipped = load(RULES)
    result: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "load_shipped_ms": round((time.perf_counter() - begun) * 1_000, 1),
        "shipped": evaluating(shipped),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many: dict[int, RuleSet] = {}
        for count in (100, 1_000):
            begun = time.perf_counter()
            many[count] = synthetic(folder / str(count), count)
            result[f"load_{count}_ms"] = round((time.perf_counter() - begun) * 1_000, 1)
            result[f"synthetic_{count}"] = evaluating(many[count])
        result["six_terms"] = against_a_lambda(synthetic(folder / "one", 1))
        result["one_term_us"] = terms(folder)
        result["columns"] = {
            "numeric_100": in_columns(synthetic(folder / "numeric", 100, NUMERIC)),
            "synthetic_100": in_columns(many[100]),
            "synthetic_1000": in_columns(many[1_000]),
            "shipped": in_columns(shipped),
            "shipped_unique_numbers": in_columns(shipped, unique=True),
        }
    result["targets"] = targets(result)
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
