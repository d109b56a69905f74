"""The sentences that the decision layer itself says, in English, Russian and Kazakh."""

from __future__ import annotations

from typing import Final

_TEXTS: Final = {
    "emergency": {
        "en": "an emergency call is never touched",
        "ru": "экстренный вызов никогда не перехватывается",
        "kk": "шұғыл қоңырау ешқашан ұсталмайды",
    },
    "score": {
        "en": "the calling pattern looks like fraud (score {score:.3f})",
        "ru": "характер вызовов похож на мошенничество (оценка {score:.3f})",
        "kk": "қоңырау сипаты алаяқтыққа ұқсайды (баға {score:.3f})",
    },
    "killed": {
        "en": "interception is switched off",
        "ru": "перехват отключён",
        "kk": "ұстау өшірілген",
    },
    "undecided": {
        "en": "the call could not be judged and goes on",
        "ru": "вызов не удалось оценить, он пропущен",
        "kk": "қоңырауды бағалау мүмкін болмады, ол өткізілді",
    },
    "label": {"en": "Suspected fraud", "ru": "Возможно, мошенники", "kk": "Алаяқтық болуы мүмкін"},
}


def say(name: str, language: str, **values: float) -> str:
    """The sentence ``name`` in ``language`` (English where there is none in it)."""
    texts = _TEXTS[name]
    return texts.get(language, texts["en"]).format(**values)
