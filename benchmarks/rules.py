"""What evaluating rules costs: ``python benchmarks/rules.py`` prints JSON.

Microseconds a call, the best of several rounds over the same varied rows: the shipped packs, 100 and 1,000 synthetic
rules of six terms, and one six-term condition beside the lambda that a programmer would have written by hand. The
lambda is measured in the same run, so that the ratio means something on any machine.
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

from antifraud.rulekit import Params, RuleSet, load_fields, load_rules, read_window_names

RULES = Path(__file__).parent.parent / "rules"
ROWS = 512
ROUNDS = 7

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


def load(folder: Path) -> RuleSet:
    """The rules of ``folder`` with the product's fields and windows."""
    fields = load_fields(RULES / "fields.yaml")
    windows = read_window_names(RULES / "windows.yaml")
    return load_rules(folder, fields=fields, windows=windows, order=(*fields, *windows, "score"))


def synthetic(folder: Path, count: int) -> RuleSet:
    """``count`` rules of six terms in one pack, each with numbers of its own."""
    rng = random.Random(7)
    pack = folder / "packs" / "synthetic"
    pack.mkdir(parents=True)
    for number in range(count):
        text = SYNTHETIC.format(
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
    return {"rules": len(rules.rules), "us_a_call": best(run, repeats * ROWS), "rows_hit": round(hit / ROWS, 3)}


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
    return {"lambda_us": hand, "compiled_us": ours, "ratio": round(ours / hand, 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--thousand", action="store_true", help="measure 1,000 rules too (a few seconds to compile)")
    chosen = parser.parse_args()
    begun = time.perf_counter()
    shipped = load(RULES)
    result: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "load_shipped_ms": round((time.perf_counter() - begun) * 1_000, 1),
        "shipped": evaluating(shipped),
    }
    with tempfile.TemporaryDirectory() as folder:
        for count in (100, 1_000) if chosen.thousand else (100,):
            begun = time.perf_counter()
            rules = synthetic(Path(folder) / str(count), count)
            result[f"load_{count}_ms"] = round((time.perf_counter() - begun) * 1_000, 1)
            result[f"synthetic_{count}"] = evaluating(rules)
        result["six_terms"] = against_a_lambda(synthetic(Path(folder) / "one", 1))
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
