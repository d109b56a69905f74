"""The words of the reference in Russian and Kazakh, by what they are in English (see ``reference``, ``language``).

What is written in a condition is the same in every language and is not translated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

HEAD: Final = """\
# Fields, windows, functions

What a condition can speak of. How rules are written around it is in [rules and their language](rule-language.md).
"""
FIELDS: Final = """\
## Fields and facts

What is known of one call. *From* says at which event: a rule judges the setup of a call, so it can read only what is
known at *setup*; the condition of a window also what its own event carries (`on: release`). A value that is not known
is missing.
"""
WINDOWS: Final = """\
## Windows

Numbers over the past, known when a call is set up; [what they count exactly](windows.md). The present call is not
counted. *By* says whose past it is (`a → b`: kept of a, looked up for b), *over* how far it looks back.
"""
CONDITIONS: Final = "## Conditions\n"
SCORE: Final = "the score of the model, 0 to 1; missing without a model"

TRANSLATED: Final[Mapping[str, tuple[str, str]]] = {
    HEAD: (
        """\
# Поля, окна, функции

О чём может говорить условие. Как вокруг него пишется правило, сказано в
[описании языка правил](rule-language.md) (на английском).
""",
        """\
# Өрістер, терезелер, функциялар

Шарт не туралы айта алады. Оның айналасында ереже қалай жазылатыны
[ережелер тілінің сипаттамасында](rule-language.md) айтылған (ағылшынша).
""",
    ),
    FIELDS: (
        """\
## Поля и факты

Что известно об одном вызове. Столбец *с* говорит, с какого события: правило оценивает установление вызова и может
читать только то, что известно при *setup*; условие окна — ещё и то, что несёт его собственное событие
(`on: release`). Если значение неизвестно, его нет.
""",
        """\
## Өрістер мен фактілер

Бір қоңырау туралы не белгілі. *Қашаннан* бағаны қай оқиғадан бастап екенін айтады: ереже қоңыраудың орнатылуын
бағалайды, сондықтан *setup* кезінде белгілі нәрсені ғана оқи алады; терезенің шарты өз оқиғасындағыны да оқиды
(`on: release`). Мән белгісіз болса, ол жоқ.
""",
    ),
    WINDOWS: (
        """\
## Окна

Числа о прошлом, известные в момент установления вызова; [что именно они считают](windows.md) (на английском). Нынешний
вызов не считается. *По* — чьё это прошлое (`a → b`: ведётся по a, спрашивается для b), *за* — как далеко назад.
""",
        """\
## Терезелер

Өткен туралы сандар, қоңырау орнатылған сәтте белгілі; [олар нақты нені санайды](windows.md) (ағылшынша). Қазіргі
қоңырау саналмайды. *Кім бойынша* — кімнің өткені (`a → b`: a бойынша жүргізіледі, b үшін сұралады), *уақыты* — қанша
артқа дейін.
""",
    ),
    CONDITIONS: ("## Условия\n", "## Шарттар\n"),
    SCORE: ("оценка модели, от 0 до 1; без модели её нет", "модельдің бағасы, 0-ден 1-ге дейін; модельсіз ол жоқ"),
    # The heads of the tables
    "written": ("как пишется", "қалай жазылады"),
    "takes": ("что принимает", "не қабылдайды"),
    "is true when": ("верно, когда", "қашан ақиқат"),
    "where a value is missing": ("если значения нет", "мән жоқ болса"),
    "example": ("пример", "мысал"),
    "field": ("поле", "өріс"),
    "type": ("тип", "түрі"),
    "from": ("с", "қашаннан"),
    "meaning": ("смысл", "мағынасы"),
    "window": ("окно", "терезе"),
    "kind": ("вид", "түрі"),
    "by": ("по", "кім бойынша"),
    "over": ("за", "уақыты"),
    "counts": ("что считает", "не санайды"),
    # Types
    "text": ("текст", "мәтін"),
    "number": ("число", "сан"),
    "yes/no": ("да/нет", "иә/жоқ"),
    "one of": ("одно из", "біреуі"),
    # Examples
    "{example} is {cases}": ("{example}: {cases}", "{example}: {cases}"),
    "true": ("верно", "ақиқат"),
    "false": ("неверно", "жалған"),
    "unknown": ("неизвестно", "белгісіз"),
    "{held} when it is missing": ("{held}, когда значения нет", "мән жоқ болса, {held}"),
    "{held} at {moment}": ("{held} в момент {moment}", "{moment} сәтінде {held}"),
    "{held} with {values}": ("{held} при {values}", "{values} болса, {held}"),
    "yes": ("да", "иә"),
    "no": ("нет", "жоқ"),
    "2026-01-01 17:00": ("2026-01-01 17:00", "2026-01-01 17:00"),
    "2026-01-01 23:00": ("2026-01-01 23:00", "2026-01-01 23:00"),
    "Saturday 2026-01-03 17:00": ("суббота 2026-01-03 17:00", "сенбі 2026-01-03 17:00"),
    "2100-01-01": ("2100-01-01", "2100-01-01"),
    # Subjects
    "Comparisons": ("Сравнения", "Салыстыру"),
    "One of several": ("Одно из нескольких", "Бірнешенің бірі"),
    "Texts": ("Тексты", "Мәтіндер"),
    "Whether something is known": ("Известно ли значение", "Мән белгілі ме"),
    "Joining": ("Соединение условий", "Шарттарды қосу"),
    "Calculating": ("Вычисления", "Есептеу"),
    "Local time of the call": ("Местное время вызова", "Қоңыраудың жергілікті уақыты"),
    # What stands in a construct
    "two texts, or two numbers": ("два текста или два числа", "екі мәтін немесе екі сан"),
    "two numbers; texts have no order": ("два числа; у текстов порядка нет", "екі сан; мәтіндерде рет жоқ"),
    "numbers": ("числа", "сандар"),
    "three numbers": ("три числа", "үш сан"),
    "a text and texts, or a number and numbers": (
        "текст и тексты или число и числа",
        "мәтін мен мәтіндер немесе сан мен сандар",
    ),
    "a text and a parameter that holds texts, or a number and one that holds numbers": (
        "текст и параметр с текстами или число и параметр с числами",
        "мәтін мен мәтіндері бар параметр немесе сан мен сандары бар параметр",
    ),
    "a number, a trunk or a user agent, and a list of such": (
        "номер, транк или user agent и список таких же",
        "нөмір, транк немесе user agent және сондайлардың тізімі",
    ),
    "a text, and texts; also params.name, or lists.name with a list of prefixes": (
        "текст и тексты; также params.name или lists.name со списком начал номеров",
        "мәтін мен мәтіндер; сондай-ақ params.name немесе нөмір бастаулары тізімі бар lists.name",
    ),
    "a text, and a pattern in quotes": ("текст и шаблон в кавычках", "мәтін және тырнақшадағы үлгі"),
    "a field, a fact, a window or score": ("поле, факт, окно или score", "өріс, факт, терезе немесе score"),
    "a yes/no field or parameter": ("поле или параметр вида да/нет", "иә/жоқ түріндегі өріс немесе параметр"),
    "two conditions": ("два условия", "екі шарт"),
    "two conditions; and binds tighter": (
        "два условия; and связывает сильнее",
        "екі шарт; and күштірек байланыстырады",
    ),
    "a condition; binds tighter than and": (
        "условие; связывает сильнее, чем and",
        "шарт; and сөзінен күштірек байланыстырады",
    ),
    "nothing": ("ничего", "ештеңе"),
    "nothing, or two times as for time_between": (
        "ничего или два времени, как у time_between",
        "ештеңе немесе time_between сияқты екі уақыт",
    ),
    "two times of the day in quotes, or parameters that hold hours": (
        "два времени суток в кавычках или параметры с часами",
        "тырнақшадағы тәуліктің екі уақыты немесе сағаттары бар параметрлер",
    ),
    # When it is true
    "they are the same; capitals matter": (
        "они одинаковы; большие и маленькие буквы различаются",
        "олар бірдей; бас және кіші әріптер ажыратылады",
    ),
    "they differ": ("они различны", "олар әртүрлі"),
    "a is smaller, not larger, larger, not smaller": (
        "a меньше, не больше, больше, не меньше",
        "a кіші, үлкен емес, үлкен, кіші емес",
    ),
    "the same as a <= b and b < c": ("то же, что a <= b and b < c", "a <= b and b < c дегенмен бірдей"),
    "x lies between the two, both included": (
        "x лежит между ними, включая оба",
        "x екеуінің арасында, екеуі де қоса алғанда",
    ),
    "x is one of them": ("x — одно из них", "x — солардың бірі"),
    "x is none of them": ("x не равно ни одному из них", "x олардың ешқайсысы емес"),
    "x is one of those that the parameter holds": (
        "x — одно из значений параметра",
        "x — параметр мәндерінің бірі",
    ),
    "x is in the list at the time of the call": (
        "x есть в списке в момент вызова",
        "қоңырау сәтінде x тізімде бар",
    ),
    "x begins with one of them": ("x начинается с одного из них", "x солардың бірінен басталады"),
    "the pattern is found anywhere in x": ("шаблон найден в любом месте x", "үлгі x ішінің кез келген жерінен табылды"),
    "its value is not known": ("значение неизвестно", "мәні белгісіз"),
    "it is yes; x == true says the same, x == false the opposite": (
        "значение «да»; x == true — то же самое, x == false — наоборот",
        "мәні «иә»; x == true — дәл сол, x == false — керісінше",
    ),
    "both are true": ("оба верны", "екеуі де ақиқат"),
    "at least one is true": ("верно хотя бы одно", "кемінде біреуі ақиқат"),
    "it is false": ("оно неверно", "ол жалған"),
    "comes to a number, which is then compared": (
        "даёт число, которое затем сравнивают",
        "сан шығады, содан кейін ол салыстырылады",
    ),
    "the call comes from 22:00 until before 06:00, or between the two times": (
        "вызов приходит с 22:00 и до 06:00 (не включая) или между двумя временами",
        "қоңырау 22:00-ден 06:00-ге дейін (қоспағанда) немесе екі уақыттың арасында келеді",
    ),
    "the call comes from the first until before the second, over midnight where the second is smaller": (
        "вызов приходит с первого времени и до второго (не включая), через полночь, если второе меньше",
        "қоңырау бірінші уақыттан екіншісіне дейін (қоспағанда) келеді, екіншісі кіші болса — түн ортасы арқылы",
    ),
    "it is Saturday or Sunday": ("суббота или воскресенье", "сенбі немесе жексенбі"),
    "calendar.yaml has the day as a holiday": (
        "день отмечен в calendar.yaml как праздник",
        "күн calendar.yaml файлында мереке деп белгіленген",
    ),
    # What becomes of it without a value
    "unknown: it is not known that they differ": (
        "неизвестно: что они различны, не известно",
        "белгісіз: олардың әртүрлі екені белгілі емес",
    ),
    "unknown: it is not known that it is none of them": (
        "неизвестно: что это ни одно из них, не известно",
        "белгісіз: ешқайсысы емес екені белгілі емес",
    ),
    "true: it is never unknown": ("верно: неизвестным не бывает", "ақиқат: ешқашан белгісіз болмайды"),
    "false as soon as one is false; else unknown": (
        "неверно, как только неверно одно; иначе неизвестно",
        "біреуі жалған болса — жалған; әйтпесе белгісіз",
    ),
    "true as soon as one is true; else unknown": (
        "верно, как только верно одно; иначе неизвестно",
        "біреуі ақиқат болса — ақиқат; әйтпесе белгісіз",
    ),
    "missing, so a comparison with it is unknown": (
        "значения нет, и сравнение с ним неизвестно",
        "мән жоқ, сондықтан онымен салыстыру белгісіз",
    ),
    "missing; also where b is 0": ("значения нет; также если b равно 0", "мән жоқ; b нөлге тең болса да"),
    "never missing": ("значение есть всегда", "мән әрқашан бар"),
    "unknown in a year that the calendar does not cover": (
        "неизвестно в году, которого нет в календаре",
        "күнтізбеде жоқ жылда белгісіз",
    ),
}
"""English → (Russian, Kazakh)."""


def said(text: str, language: str) -> str:
    """``text``, which is English, in ``language`` (en, ru, kk); in English where nobody has translated it."""
    if language == "en":
        return text
    russian, kazakh = TRANSLATED.get(text, (text, text))
    return kazakh if language == "kk" else russian
