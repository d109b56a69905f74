"""What a person says of one call on the command line: as it stands there, from a file, or from standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from antifraud.domain import UsageError

MAX_BYTES: Final = 256 * 1024


def call_text(given: str) -> str:
    """``given`` itself; ``@FILE`` is read from the file, ``-`` from standard input. At most ``MAX_BYTES`` characters.

    UsageError when it cannot be read, or is longer.
    """
    try:
        if given == "-":
            text = sys.stdin.read(MAX_BYTES + 1)
        elif given.startswith("@"):
            with Path(given[1:]).open(encoding="utf-8") as file:
                text = file.read(MAX_BYTES + 1)
        else:
            text = given
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the call cannot be read from {given}: {error}") from None
    if len(text) > MAX_BYTES:
        raise UsageError(f"the call has more than {MAX_BYTES >> 10} KiB", hint="say only what is known of one call")
    return text
