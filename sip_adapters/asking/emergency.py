"""Which called numbers are emergency calls: those are never asked about and never held up.

They are recognised with separators, with a leading plus, in digits of any script, and codes of three digits and more
behind a national prefix or area code. A code of two digits is too short to be told from the end of another number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

NUMBERS: Final = ("101", "102", "103", "104", "112", "911", "01", "02", "03", "04")
PREFIX: Final = "((810|00)?7|8)?(7[0-9]{2}|7[12][0-9]{2,3})?|810|00"
_SEPARATORS: Final = str.maketrans("", "", "-. ()/[]~_")
_LONGEST: Final = 20
_LONG_CODE: Final = 3


class EmergencyNumbers:
    """The ``numbers``, those of three digits and more also behind what the regular expression ``prefix`` matches.

    Raises ValueError, which says what is wrong with them.
    """

    def __init__(self, numbers: Sequence[str] = NUMBERS, prefix: str = PREFIX) -> None:
        for number in numbers:
            if not is_code(number):
                raise ValueError(f"{number[:40]!r} is no number")
        codes = [bare(number) for number in numbers]
        long = [code for code in codes if len(code) >= _LONG_CODE]
        behind = [f"(?:{prefix})(?:{'|'.join(long)})"] if long else []
        try:
            re.compile(prefix)
            self._pattern = re.compile("|".join([*codes, *behind]) if codes else "(?!)")
        except re.error as error:
            raise ValueError(f"the prefix is no regular expression: {error}") from None

    def __contains__(self, callee: str) -> bool:
        if callee.lower().startswith("urn:service:sos"):
            return True
        number = bare(callee)
        return len(number) <= _LONGEST and self._pattern.fullmatch(number) is not None


def is_code(number: str) -> bool:
    """Whether ``number`` can be one of the numbers: digits, however they are written."""
    code = bare(number)
    return code.isascii() and code.isdigit()


def bare(number: str) -> str:
    """A dialled number without parameters, separators, leading plus and the ``#`` that ends dialling, in ASCII."""
    text = number.partition(";")[0]
    if not text.isascii():
        text = "".join(map(_ascii, text))
    return text.translate(_SEPARATORS).lstrip("+").rstrip("#")


def _ascii(char: str) -> str:
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    if char in "\N{MIDDLE DOT}\N{MINUS SIGN}" or unicodedata.category(char) in ("Cf", "Pd", "Zs"):
        return ""
    return "+" if unicodedata.normalize("NFKC", char) == "+" else char
