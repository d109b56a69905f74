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
    "handed_back": {
        "en": "the desk has judged this call",
        "ru": "этот вызов уже рассмотрен операторами",
        "kk": "бұл қоңырауды операторлар қарап қойған",
    },
    "cleared": {
        "en": "the number was cleared after an appeal",
        "ru": "номер оправдан по обращению абонента",
        "kk": "нөмір абоненттің өтініші бойынша ақталған",
    },
    "passed": {
        "en": "the caller has passed the challenge within 24 hours",
        "ru": "звонящий прошёл проверку за последние 24 часа",
        "kk": "қоңырау шалушы соңғы 24 сағатта тексеруден өтті",
    },
    "desk_full": {
        "en": "no desk has a place for the call",
        "ru": "нет свободных операторов",
        "kk": "бос оператор жоқ",
    },
    "undecided_refused": {
        "en": "the call could not be judged and is refused, as the fail policy says",
        "ru": "вызов не удалось оценить, он отклонён по правилам на случай сбоя",
        "kk": "қоңырауды бағалау мүмкін болмады, ақау ережесі бойынша қабылданбады",
    },
    "label": {"en": "Suspected fraud", "ru": "Возможно, мошенники", "kk": "Алаяқтық болуы мүмкін"},
}


def say(name: str, language: str, **values: float) -> str:
    """The sentence ``name`` in ``language`` (English where there is none in it)."""
    texts = _TEXTS[name]
    return texts.get(language, texts["en"]).format(**values)
