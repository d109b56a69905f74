"""Letters of other scripts that look Latin: a name with one of them looks right on the screen and is not.

They come from a keyboard that was still Russian or Kazakh, or from somebody who wants a reviewer to read another word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_LATIN: Final = str.maketrans(
    "асеіорхуһјѕԁԛԝкмнтвгАВСЕНІЈКМОРЅТХУҮԚԜΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανρ",
    "aceiopxyhjsdqwkmhtbrABCEHIJKMOPSTXYYQWABEZHIKMNOPTYXoavp",
)
_DIGITS: Final = str.maketrans("OoBI", "0081")
_NUMBER: Final = re.compile(r"\+[0-9OoBI ()-]*\Z")


def latin(word: str) -> str:
    """``word`` with letters that look Latin made Latin; the word itself where that does not help."""
    if word.isascii():
        return word
    replaced = word.translate(_LATIN)
    return replaced if replaced.isascii() else word


def foreign(word: str) -> str:
    """The letters of ``word`` that are not Latin, each once with its script: ``с (Cyrillic)``."""
    odd = dict.fromkeys(letter for letter in word if not letter.isascii())
    return ", ".join(
        f"{letter} ({unicodedata.name(letter, 'unknown').split(' ', 1)[0].capitalize()})" for letter in odd
    )


def meant(word: str, names: Iterable[str]) -> str:
    """Which of ``names`` looks like ``word`` but for letters that only look Latin; empty when there is none."""
    plain = latin(word)
    return plain if plain != word and plain in names else ""


def mixed(text: str) -> bool:
    """Whether a text is of two scripts by mistake: all that is not Latin in it looks Latin, and some of it is Latin.

    A text that is wholly Cyrillic is meant so, a number with a letter O in it is not.
    """
    plain = latin(text)
    if plain == text:
        return False
    return any(letter.isascii() and letter.isalpha() for letter in text) or _NUMBER.match(plain) is not None


def retyped(text: str) -> str:
    """What a mixed text was meant to be: digits in a number, Latin letters elsewhere."""
    plain = latin(text)
    return plain.translate(_DIGITS) if _NUMBER.match(plain) else plain


def advice(word: str) -> str:
    """How to mend a word that has letters which only look Latin; empty when it has none."""
    plain = latin(word)
    if plain == word:
        return ""
    return f"not Latin, though it looks so: {foreign(word)}; type it on the Latin keyboard: {plain}"
