"""An explanation in words: English, Russian, Kazakh. What a feature is called comes from its ``doc``.

Sentences are built as "what it is: value; what is usual", because then a name is never declined: the same text that
describes a window to whoever writes rules stands in them as it is, whatever windows an operator adds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final, Literal

from antifraud.scoring.explanation import Change, Explanation, Ground, Meaning

Rounding = Literal["nearest", "down", "up"]

#: What a doc says beside the name of the thing: how a share is counted, what is missing when, an acronym.
_ASIDE: Final = re.compile(r"\s*\([^()]*\b[01]\b[^()]*\b[01]\b[^()]*\)|;.*|:\s[A-Z]{3}\b", re.DOTALL)
_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "usual_high": "usually at most {}", "usual_low": "usually at least {}", "usual": "usually about {}",
        "usual_one": "usually {}", "unknown": "not known", "yes": "yes", "no": "no",
        "at_most": "at most {}", "at_least": "at least {}", "between": "from {} to {}", "exactly": "{}",
        "alone": "by its score the call would {instead} with this instead: {changes}",
        "both": "by its score the call would {instead} with both of these instead: {changes}",
        "none": "none of the strongest reasons alone would have changed the verdict of the score by being otherwise",
        "none_both": "neither one nor two of the strongest reasons, being otherwise, would have changed the verdict",
        "allow": "have been allowed", "label": "only have been labelled", "challenge": "only have been challenged",
        "divert": "only have been diverted",
    },
    "ru": {
        "usual_high": "обычно не больше {}", "usual_low": "обычно не меньше {}", "usual": "обычно около {}",
        "usual_one": "обычно {}", "unknown": "неизвестно", "yes": "да", "no": "нет",
        "at_most": "не больше {}", "at_least": "не меньше {}", "between": "от {} до {}", "exactly": "{}",
        "alone": "по оценке модели вызов {instead}, будь вместо этого: {changes}",
        "both": "по оценке модели вызов {instead}, будь вместо этого и то, и другое: {changes}",
        "none": "ни одна из главных причин в отдельности, будь она иной, не изменила бы вердикта по оценке",
        "none_both": "ни одна, ни две из главных причин, будь они иными, не изменили бы вердикта по оценке",
        "allow": "был бы пропущен", "label": "был бы только помечен", "challenge": "был бы только проверен",
        "divert": "был бы только переведён",
    },
    "kk": {
        "usual_high": "әдетте ең көбі {}", "usual_low": "әдетте ең азы {}", "usual": "әдетте шамамен {}",
        "usual_one": "әдетте {}", "unknown": "белгісіз", "yes": "иә", "no": "жоқ",
        "at_most": "ең көбі {}", "at_least": "ең азы {}", "between": "{} — {} аралығында", "exactly": "{}",
        "alone": "модельдің бағасы бойынша қоңырау {instead}, егер мынадай болса: {changes}",
        "both": "модельдің бағасы бойынша қоңырау {instead}, егер екеуі де мынадай болса: {changes}",
        "none": "басты себептердің бірде-бірі, жеке өзі басқаша болса да, баға бойынша шешімді өзгертпес еді",
        "none_both": "басты себептердің бірі де, екеуі бірге де, басқаша болса да, баға бойынша шешімді өзгертпес еді",
        "allow": "өткізілер еді", "label": "тек белгіленер еді", "challenge": "тек тексерілер еді",
        "divert": "тек бағытталар еді",
    },
}  # fmt: skip

_UNITS_S: Final = (86_400, 3600, 60, 1)
_UNITS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "en": (("day", "days"), ("hour", "hours"), ("minute", "minutes"), ("second", "seconds")),
    "ru": (
        ("день", "дня", "дней"), ("час", "часа", "часов"), ("минута", "минуты", "минут"),
        ("секунда", "секунды", "секунд"),
    ),
    "kk": (("тәулік",), ("сағат",), ("минут",), ("секунд",)),
}  # fmt: skip


def sentences(explanation: Explanation, meanings: Mapping[str, Meaning], language: str) -> tuple[str, ...]:
    """One sentence for each ground, then what would have changed the verdict. English where there is no ``language``.

    Nothing about change is said of a call that the score allows.
    """
    language = language if language in _WORDS else "en"
    said = [_ground(ground, _meaning(meanings, ground.feature), language) for ground in explanation.grounds]
    if explanation.verdict != "allow":
        said.append(_counterfactual(explanation, meanings, language))
    return tuple(said)


def name_of(meaning: Meaning, language: str) -> str:
    """What the feature is, as it stands in a sentence."""
    doc = meaning.doc.get(language) or meaning.doc.get("en") or next(iter(meaning.doc.values()), "")
    return _ASIDE.sub("", doc).strip()


def shown(value: float, form: str, language: str, rounding: Rounding = "nearest") -> str:
    """``value`` with its unit; ``rounding`` makes it whole (parts of a hundred, seconds)."""
    words = _WORDS[language]
    if form == "flag":
        return words["yes"] if value else words["no"]
    if form == "share":
        return f"{_parts(value, 100, rounding)} %"
    if form == "seconds":
        seconds = _parts(value, 1, rounding)
        long = duration(seconds, language)
        return f"{seconds} ({long})" if seconds >= 60 else f"{seconds}"
    if form in ("count", "hour") or value == int(value):
        return f"{_parts(value, 1, rounding)}"
    return f"{value:.3g}"


def duration(seconds: int, language: str) -> str:
    """``seconds`` in its two largest units: "2 minutes 5 seconds"."""
    parts = []
    for unit_s, forms in zip(_UNITS_S, _UNITS[language], strict=True):
        count, seconds = divmod(seconds, unit_s)
        if count:
            parts.append(f"{count} {forms[_plural(count, language)]}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts) or f"0 {_UNITS[language][-1][-1]}"


def _plural(count: int, language: str) -> int:
    """Which of the forms stands after ``count`` (the rules of Unicode CLDR; Kazakh has one form after numbers)."""
    if language == "en":
        return 0 if count == 1 else 1
    if language == "ru":
        if count % 10 == 1 and count % 100 != 11:
            return 0
        return 1 if 2 <= count % 10 <= 4 and not 12 <= count % 100 <= 14 else 2
    return 0


def _parts(value: float, of: int, rounding: Rounding) -> int:
    """How many parts ``of`` one whole ``value`` is, rounded."""
    exact = value * of
    parts = math.floor(exact) if rounding == "down" else math.ceil(exact) if rounding == "up" else round(exact)
    # 0.29 * 100 is 28.999999999999996, and yet 29 parts of a hundred are not above 0.29.
    if rounding == "down" and (parts + 1) / of <= value:
        return parts + 1
    if rounding == "up" and (parts - 1) / of >= value:
        return parts - 1
    return parts


def _meaning(meanings: Mapping[str, Meaning], feature: str) -> Meaning:
    return meanings.get(feature) or Meaning(doc={"en": feature})


def _ground(ground: Ground, meaning: Meaning, language: str) -> str:
    words = _WORDS[language]
    if ground.value is None:
        if ground.first and meaning.first:
            return meaning.first.get(language) or meaning.first["en"]
        if meaning.missing:
            return meaning.missing.get(language) or meaning.missing["en"]
        return f"{name_of(meaning, language)}: {words['unknown']}"
    said = f"{name_of(meaning, language)}: {shown(ground.value, meaning.form, language)}"
    usual = ground.usual
    if usual is None or meaning.form == "hour":
        return said
    if meaning.form == "flag":
        return f"{said}; {words['usual_one'].format(shown(usual.median, 'flag', language))}"
    if usual.low == usual.high:
        key, value = "usual_one", shown(usual.high, meaning.form, language)
    elif ground.value > usual.high:
        key, value = "usual_high", shown(usual.high, meaning.form, language, "up")
    elif ground.value < usual.low:
        key, value = "usual_low", shown(usual.low, meaning.form, language, "down")
    else:
        key, value = "usual", shown(usual.median, meaning.form, language)
    return f"{said}; {words[key].format(value)}"


def _counterfactual(explanation: Explanation, meanings: Mapping[str, Meaning], language: str) -> str:
    words = _WORDS[language]
    if not explanation.changes:
        return words["none_both" if explanation.pairs else "none"]
    changes = "; ".join(_change(change, _meaning(meanings, change.feature), language) for change in explanation.changes)
    frame = words["alone" if len(explanation.changes) == 1 else "both"]
    return frame.format(instead=words[explanation.instead], changes=changes)


def _change(change: Change, meaning: Meaning, language: str) -> str:
    words = _WORDS[language]
    # Bounds are rounded inwards: what is said must hold.
    low = None if change.low is None else shown(change.low, meaning.form, language, "up")
    high = None if change.high is None else shown(change.high, meaning.form, language, "down")
    if change.low is not None and change.high is not None:
        of = 100 if meaning.form == "share" else 1
        if change.low == change.high or low == high:
            said = words["exactly"].format(shown(change.low, meaning.form, language))
        elif _parts(change.low, of, "up") > _parts(change.high, of, "down"):
            said = words["between"].format(f"{change.low:.6g}", f"{change.high:.6g}")
        else:
            said = words["between"].format(low, high)
    elif high is not None:
        # Nothing that is counted or measured is below 0.
        said = words["exactly" if change.high == 0 and meaning.form != "number" else "at_most"].format(high)
    else:
        said = words["at_least"].format(low)
    return f"{name_of(meaning, language)}: {said}"
