"""The one command, ``antifraud``. Commands are imported when they are called, so that ``--help`` is instant."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final, NoReturn

import click

from antifraud import __version__
from antifraud.domain import AntifraudError

__all__ = ["main"]

_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "adapter": ("antifraud.cli.processes:adapter", "Run one source of calls (redirect, cdr, asterisk, freeswitch)."),
    "agent": ("antifraud.cli.agents:agent", "Carry commands out on one switch (kamailio, asterisk, freeswitch)."),
    "backtest": (
        "antifraud.cli.backtest:backtest",
        "Count what each rule hits over labelled calls.",
    ),
    "blocks": ("antifraud.cli.blocks:blocks", "Block calling numbers, free them, see at which switches they are."),
    "config": ("antifraud.cli.config:config", "Check and show the configuration."),
    "demo": ("antifraud.cli.demo:demo", "Everything on this machine, simulated traffic, a live view."),
    "desk": ("antifraud.cli.desk:desk", "Serve call cards to the desk, and show and say what desks can take."),
    "doctor": ("antifraud.cli.doctor:doctor", "What is reachable, which versions, what is wrong and how to mend it."),
    "engine": ("antifraud.cli.processes:engine", "Run the engine of one shard."),
    "journal": ("antifraud.cli.processes:journal", "Write every decision to Parquet files."),
    "lists": ("antifraud.cli.lists:lists", "Look into lists of numbers, check a number, add and remove at run time."),
    "model": ("antifraud.cli.model:model", "Train, evaluate and inspect models."),
    "replay": ("antifraud.cli.replay:replay", "Decide about the calls of captures, CDR or event files."),
    "rules": ("antifraud.cli.rules:rules", "Check, test, format, compare, promote and explain rules."),
    "simulate": ("antifraud.cli.simulate:simulate", "Write synthetic national call traffic with its truth."),
    "up": ("antifraud.cli.processes:up", "Run what the configuration says: engine, adapters, journal."),
}


class _Commands(click.Group):
    """Knows every command's name and summary without importing it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place[0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_place, summary) in sorted(_COMMANDS.items())])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="antifraud")
def root() -> None:
    """Decides about telephone calls before the phone rings."""


def main() -> NoReturn:
    """Run the command; exit codes: 0 done, 1 found something wrong, 2 used wrongly."""
    try:
        code = root.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except AntifraudError as error:
        click.echo(error.render(), err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("ANTIFRAUD_DEBUG"):
            raise
        click.echo(f"antifraud met an error of its own: {type(error).__name__}: {error}", err=True)
        click.echo("    please report it; ANTIFRAUD_DEBUG=1 shows where it happened", err=True)
        sys.exit(1)
