"""Facts about a number: ours beside phonenumbers, in one run over the same numbers.

    python benchmarks/numbering.py [--numbers N] [--rounds N]

Prints one JSON object: microseconds a number (CPU time of this process, the best of several rounds) for every form,
and how many times faster than phonenumbers (parse, region, type, valid, possible) that is. ``uncached`` numbers are
all different and seen for the first time; ``cached`` is one SIP URI again and again. Not a test: it asserts nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import phonenumbers

from antifraud.numbering import Numbering, load_dial_plan

ROOT = Path(__file__).resolve().parents[1]

#: Form → template of a number (six changing digits) and whether it comes from an international trunk.
FORMS: dict[str, tuple[str, bool]] = {
    "+7 7xx": ("+77001{:06d}", False),
    "8 7xx": ("87001{:06d}", False),
    "7 7xx": ("77001{:06d}", False),
    "7xx": ("7001{:06d}", False),
    "+7 727 (fixed)": ("+77272{:06d}", False),
    "+1": ("+12125{:06d}", False),
    "+44": ("+442071{:06d}", False),
    "00998": ("00998900{:06d}", False),
    "998 from an international trunk": ("998900{:06d}", True),
    "8 7xx from an international trunk": ("87001{:06d}", True),
    "no number of anybody": ("+99999{:06d}", False),
    "+7 (7xx) with separators": ("+7 (700) 1{:06d}", False),
    "SIP URI": ("sip:+77001{:06d}@192.0.2.1;user=phone", False),
}


def best(work: Callable[[str], object], numbers: Sequence[str], rounds: int) -> float:
    """Microseconds of CPU time a number, the best round of ``rounds``."""
    found = float("inf")
    for _ in range(rounds):
        begin = time.process_time_ns()
        for number in numbers:
            work(number)
        found = min(found, (time.process_time_ns() - begin) / len(numbers) / 1_000)
    return found


def full_parse(raw: str) -> tuple[object, ...]:
    """The same facts from phonenumbers."""
    try:
        number = phonenumbers.parse(raw, "KZ")
    except phonenumbers.NumberParseException:
        return ()
    return (
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
        phonenumbers.region_code_for_number(number),
        phonenumbers.number_type(number),
        phonenumbers.is_valid_number(number),
        phonenumbers.is_possible_number(number),
    )


def measure(count: int, rounds: int) -> dict[str, object]:
    plan = load_dial_plan(ROOT / "config/dialplans/kz.yaml")
    begin = time.process_time()
    numbering = Numbering(plan)
    built = time.process_time() - begin
    begin = time.process_time()
    numbering.warm()
    warmed = time.process_time() - begin
    uncached = Numbering(plan, cache_size=0)
    uncached.warm()
    forms: dict[str, dict[str, float]] = {}
    gc.collect()
    gc.disable()
    for name, (template, international) in FORMS.items():
        numbers = [template.format(index * 7919 % 1_000_000) for index in range(count)]

        def ours(raw: str, trunk: bool = international) -> object:
            return uncached.facts(raw, international=trunk)

        mine = best(ours, numbers, rounds)
        theirs = best(full_parse, numbers[: max(1, count // 20)], min(rounds, 3))
        forms[name] = {"ours_us": round(mine, 3), "phonenumbers_us": round(theirs, 2), "ratio": round(theirs / mine, 1)}
    uri = "sip:+77001234567@192.0.2.1;user=phone"
    cached = best(numbering.facts, [uri] * count, rounds)
    gc.enable()
    return {
        "benchmark": "numbering",
        "phonenumbers": phonenumbers.__version__,
        "python": sys.version.split()[0],
        "numbers": count,
        "build_s": round(built, 3),
        "warm_s": round(warmed, 3),
        "uncached": forms,
        "cached": {"ours_us": round(cached, 3), "ratio": round(forms["SIP URI"]["phonenumbers_us"] / cached, 1)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=50_000, help="different numbers of each form (default 50000)")
    parser.add_argument("--rounds", type=int, default=5, help="the best of so many rounds counts (default 5)")
    options = parser.parse_args()
    print(json.dumps(measure(max(1, options.numbers), max(1, options.rounds)), indent=2))


if __name__ == "__main__":
    main()
