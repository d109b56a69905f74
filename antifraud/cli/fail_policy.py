"""``antifraud config fail-policy``: what one switch does while nobody decides, for people, as JSON, or for Kamailio.

Also what the adapters redirect, asterisk and freeswitch are started with: they carry the same policy out by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from antifraud.domain import Decision, UsageError
from antifraud.settings import Settings, load_settings

if TYPE_CHECKING:
    from antifraud.decision.switch_fail import SwitchFail

_CHUNK: Final = 40


def fail_policy_of(settings: Settings, switch: str) -> SwitchFail:
    """The fail policy that ``switch`` carries out by itself. ConfigError where it cannot be told to a switch,
    BundleError where the lists that protect cannot be read; they are looked at only where some call is not left alone.
    """
    from antifraud.decision import load_bundle
    from antifraud.decision.switch_fail import Refusal, protecting, switch_fail
    from antifraud.numbering import load_dial_plan

    policy = settings.policy()
    region = policy.region(policy.switches.get(switch, policy.default_region))
    said = settings.speaker(sign=False).say(
        Decision(
            id="", call_id="", ts=0.0, shard=settings.shard, region=region.code, switch=switch,
            verdict="block", full_verdict="block", ceiling=region.ceiling.word,
        ),
        0.0,
    )  # fmt: skip
    refuse = Refusal(said.status or region.block_code, said.phrase or "Rejected", said.cause or 21)
    plan = load_dial_plan(settings.dial_plan_path)
    made = switch_fail(policy, switch, plan, refuse)
    if made.open:
        return made
    return protecting(made, load_bundle(settings.rules_dir, settings.utc_offset_min).rules, plan)


def fail_options(settings: Settings, switch: str) -> dict[str, Any] | None:
    """The policy as the option ``fail`` of an adapter; None where all calls go on anyway, as they always do
    from a switch that config/ does not know."""
    if switch not in settings.switches:
        return None
    policy = fail_policy_of(settings, switch)
    if policy.open:
        return None
    found: dict[str, Any] = msgspec.to_builtins(policy)
    return found


@click.command("fail-policy")
@click.option("--switch", "switch", required=True, metavar="NAME", help="The switch, by its name in config/.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "kamailio"]),
    default="text",
    show_default=True,
    help="For people, for programs, or to be included in Kamailio's configuration.",
)
@click.option("--config", "directory", type=click.Path(path_type=Path), help="Directory of the configuration.")
def fail_policy(switch: str, style: str, directory: Path | None) -> None:
    """Say what a switch does with calls while nobody decides: engine late, Redis gone, too many calls waiting.

    It holds for the rules' lists that protect as they are in the files now; write it anew when they change.
    """
    settings = load_settings(directory)
    if switch not in settings.switches:
        from antifraud.settings.check import closest

        near = closest(switch, settings.switches)
        hint = f"did you mean {near}?" if near else "switches in config/default.yaml names them"
        raise UsageError(f"there is no switch {switch}", hint=hint)
    policy = fail_policy_of(settings, switch)
    if style == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(policy), indent=2).decode())
    elif style == "kamailio":
        click.echo(kamailio(policy), nl=False)
    else:
        click.echo(f"{policy.switch}: region {policy.region}, ceiling {policy.ceiling}")
        reasons = list(next(iter(policy.actions.values())))
        click.echo(f"{'trunks':<14}" + "".join(f"  {reason:<14}" for reason in reasons).rstrip())
        for name, actions in policy.actions.items():
            click.echo(f"{name:<14}" + "".join(f"  {actions[reason]:<14}" for reason in reasons).rstrip())
        if policy.refuses:
            protected = (policy.protected_callees, policy.protected_callers, policy.protected_trunks)
            click.echo(
                f"{sum(map(len, protected))} protected numbers and trunks and all emergency calls go on whatever fails"
            )


def kamailio(policy: SwitchFail) -> str:
    """The policy as the file antifraud_fail.cfg, which antifraud.cfg includes."""
    lines = [
        f"# Fail policy of switch {policy.switch} (region {policy.region}, ceiling {policy.ceiling}), written by",
        f"# `antifraud config fail-policy --switch {policy.switch} --format kamailio`.",
        "# As antifraud_fail.cfg beside antifraud.cfg; `#!define ANTIFRAUD_FAIL_POLICY` before the include takes it.",
        "",
        f"#!define ANTIFRAUD_FAIL_LABEL {_text(policy.label)}",
        f"#!define ANTIFRAUD_FAIL_CODE {_text(str(policy.refuse.status))}",
        f"#!define ANTIFRAUD_FAIL_PHRASE {_text(policy.refuse.phrase)}",
        f"#!define ANTIFRAUD_FAIL_CAUSE {_text(str(policy.refuse.cause))}",
        f"#!define ANTIFRAUD_FAIL_RETRY_AFTER {_text(str(policy.retry_after_s))}",
        "",
        "# In: $var(af_fail), $var(af_callee), $var(af_caller), $avp(antifraud_trunk).",
        "# Out: $var(af_action), allow, label, refuse or unavailable. Emergency calls never come here.",
        "route[ANTIFRAUD_FAIL_ACTION] {",
        '\t$var(af_action) = "allow";',
        '\t$var(af_rung) = "allow";',
        '\t$var(af_class) = "any";',
        '\t$var(af_trunk) = "" + $avp(antifraud_trunk);',
    ]
    for at, (pattern, name) in enumerate(policy.trunks):
        otherwise = "else " if at else ""
        lines.append(f'\t{otherwise}if ($var(af_trunk) =~ {_text(_glob(pattern))}) $var(af_class) = "{name}";')
    for name, actions in policy.actions.items():
        lines += [
            f'\tif ($var(af_class) == "{name}" && $var(af_fail) == "{reason}") $var(af_rung) = "{action}";'
            for reason, action in actions.items()
            if action != "allow"
        ]
    lines += ['\tif ($var(af_rung) == "allow") return(1);', ""]
    lines += ["\t# Who always goes on.", "\t$var(af_plain) = $(var(af_callee){re.subst,/[-. ()]//g});"]
    lines += _going_on("$var(af_plain)", policy.protected_callees)
    if policy.protected_callers:
        lines.append('\tif ($var(af_class) == "national") {')
        lines.append("\t\t$var(af_from) = $(var(af_caller){re.subst,/[-. ()]//g});")
        lines += [f"\t{line}" for line in _going_on("$var(af_from)", policy.protected_callers)]
        lines.append("\t}")
    lines += _going_on("$var(af_trunk)", [_glob(trunk) for trunk in policy.protected_trunks])
    lines += [
        "",
        '\tif ($var(af_rung) == "label" || $var(af_rung) == "refuse") {',
        "\t\t$var(af_action) = $var(af_rung);",
        "\t\treturn(1);",
        "\t}",
        '\tif ($var(af_rung) == "national_only" && $var(af_class) != "international"',
        f"\t\t\t&& (!($var(af_plain) =~ {_text(policy.abroad)}) || $var(af_plain) =~ {_text(policy.home)})) return(1);",
        '\t$var(af_action) = "unavailable";',
        "\treturn(1);",
        "}",
        "",
    ]
    return "\n".join(lines)


def _going_on(what: str, patterns: Sequence[str]) -> list[str]:
    """Lines that let a call go on whose ``what`` matches; long lists in pieces, because a line has its limits."""
    pieces = (patterns[at : at + _CHUNK] for at in range(0, len(patterns), _CHUNK))
    return [f"\tif ({what} =~ {_text('|'.join(piece))}) return(1);" for piece in pieces]


def _glob(pattern: str) -> str:
    """``pattern`` (* and ? stand for anything) as a regular expression that POSIX and Python read alike."""
    return "^" + "".join({"*": ".*", "?": "."}.get(char) or _literal(char) for char in pattern) + "$"


def _literal(char: str) -> str:
    return char if re.match(r"[A-Za-z0-9_-]", char) else f"[{char}]" if char not in "^]\\" else f"\\{char}"


def _text(text: str) -> str:
    """``text`` as a string of Kamailio's configuration."""
    safe: Iterable[str] = (char for char in text if char.isprintable())
    return '"' + "".join(safe).replace("\\", "\\\\").replace('"', '\\"') + '"'
