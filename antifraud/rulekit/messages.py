"""Everything that rulekit can find wrong, in one catalogue: a stable code, the sentence, how to mend it.

The code is the member's name with hyphens (``unknown-name``); it is what ``--json`` carries and what the golden file
of the message is called. A sentence begins small and has no full stop; ``{…}`` is filled where the problem is found.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import Enum, unique
from typing import Final

from antifraud.domain import Problem, lookalikes


class RuleProblem(Problem, frozen=True):
    """A problem with the stable code of its message."""

    code: str = ""


@unique
class Message(Enum):
    """(sentence, hint)."""

    # Files and YAML
    FILE_UNREADABLE = ("this file cannot be read: {reason}", "check that it exists and that you may read it")
    FILE_TOO_BIG = (
        "this file is larger than {limit} bytes",
        "keep one rule a file; a list that is longer goes into a CSV file, see entries_file",
    )
    FILE_NOT_UTF8 = ("this file is not UTF-8 text", "save it as UTF-8; byte {offset} is the first that does not fit")
    FILE_EMPTY = (
        "this file is empty",
        "a rule begins with `rule:`, a list with `list:`, fields.yaml with `fields:`, calendar.yaml with `country:`",
    )
    FILE_SUFFIX = (
        "this file would not be loaded, because its name does not end in .yaml",
        "rename it to {name}; a rule that is not to be used has `stage: draft`, or lies elsewhere",
    )
    FILE_BELOW = (
        "this file would not be loaded, because it lies in a folder inside {folder}",
        "move it to {folder}/{file}, or out of the rules directory",
    )
    NAME_NEARLY = ("nothing that is called {name} is loaded", "rename it to {meant}, if that is what it is meant to be")
    FILE_MISPLACED = ("a rule lives in a pack, one folder below packs", "move it to packs/<pack>/{file}")
    DIRECTORY_MISSING = (
        "there is no folder {name} here",
        "a rules directory has packs/ with rules and lists/ with lists",
    )
    CONTROL_CHARACTER = ("an invisible control character U+{number} stands here", "delete it and type the text again")
    HIDDEN_CHARACTER = (
        "this text has the control character U+{number} in it, written as an escape",
        "remove the escape; a line break or a tab is all that a text may have",
    )
    ODD_SPACE = (
        "a space of another kind (U+{number}) stands where an ordinary one belongs",
        "delete it and press the space bar; such spaces come along when text is copied from a page or a document",
    )
    TAB_INDENT = ("a tab stands in the indentation", "indent with spaces; editors can replace tabs by themselves")
    YAML_SYNTAX = ("this cannot be read as YAML: {reason}", "check quotes, colons and the indentation of this line")
    YAML_DOCUMENTS = ("a second document begins here", "keep one rule or list a file; remove the line `---`")
    YAML_ALIAS = (
        "anchors (&) and aliases (*) are not accepted",
        "write the value out; put text that begins so in quotes",
    )
    YAML_TAG = ("the tag {tag} is not accepted", "remove it; values are plain text, numbers, yes/no and lists")
    YAML_TOO_DEEP = ("this is nested deeper than {limit} levels", "no file here needs more than a few levels")
    YAML_TOO_MUCH = ("this file has more than {limit} values", "split it")
    DUPLICATE_KEY = ("the key {name} stands here a second time", "it was first given on line {line}; keep one of them")
    KEY_NOT_TEXT = ("a key must be a plain word", "write `key: value`")
    UNKNOWN_KEY = ("the key {name} is not known in {what}", "known keys: {known}")
    MISSING_KEY = ("{what} has no {name}", "add a line `{name}: …`")

    # Values
    NOT_A_MAPPING = ("{what} must be keys with values", "write `key: value` lines, indented under it")
    NOT_A_LIST = ("{what} must be a list", "write one `- value` a line, with an ordinary space after the hyphen")
    NOT_TEXT = ("{what} must be text", "write it on one line, in quotes if it has special characters")
    NO_VALUE = ("{what} is empty", "write a value after the colon or remove the key")
    NOT_ONE_LINE = ("{what} goes over several lines", "write it on one line; what needs more goes into `why`")
    TEXT_TOO_LONG = ("{what} has {length} characters, at most {limit}", "shorten it")
    UNQUOTED_NUMBER = (
        "{value} without quotes would be read as a number and could lose its + or zeros",
        'write it in quotes: "{value}"',
    )
    NOT_A_NUMBER = ("{what} must be a number", "write digits without quotes, such as 20 or 0.5")
    NOT_A_BOOL = ("{what} must be true or false", "write true or false, without quotes")
    NOT_A_DATE = ("{what} must be a date", "write it as year-month-day, such as 2027-06-30")
    NOT_ONE_OF = ("{what} cannot be {value}", "choose one of: {known}")
    OUT_OF_RANGE = ("{what} must be between {low} and {high}", "")
    TOO_MANY = ("{what} has more than {limit} entries", "split it, or use a list under rules/lists")
    UNKNOWN_LANGUAGE = ("{name} is not a language that texts are given in", "known: en, ru, kk")
    BAD_NAME = ("{name} cannot be the name of {what}", "use small Latin letters, digits and _, beginning with a letter")

    # Fields, windows, lists
    FIELD_ORDER = ("the field {name} is not among those that the engine fills", "remove it, or have the engine fill it")
    LIST_KIND_CLASS = (
        "a list of user agents cannot protect",
        "anybody can write any user agent; protect by number or trunk",
    )
    LIST_PROTECTS_CLASS = (
        "only a list of class protect says whom it protects",
        "remove `protects` or write `class: protect`",
    )
    ENTRY_NOT_NUMBER = (
        "{value} is no number that a call can carry",
        'write it in full with + and country code ("+77172000000"), or as the short code ("112")',
    )
    ENTRY_NOT_PREFIX = ("{value} is no beginning of a number", 'write + and digits, such as "+7717"')
    ENTRY_BAD_TRUNK = (
        "{value} is no name of a trunk",
        "write the name as the switch sends it; a * may stand at its end",
    )
    ENTRY_SHORT_AGENT = ("{value} is too short to recognise a user agent by", "write at least 4 characters")
    ENTRY_TWICE = ("{value} stands in this list a second time", "it was first given on line {line}")
    ENTRY_NOT_RANGE = (
        "{value} is no range of numbers",
        'write both ends in full with + and country code ("+77172000000-+77172009999"), or `from` and `to`',
    )
    ENTRY_RANGE_ORDER = (
        "{value} ends before it begins, or its ends differ in length",
        "write the smaller number first; both have the same number of digits",
    )
    LIST_WITHOUT_ENTRIES = (
        "this list has neither entries nor entries_file",
        "add `entries: []`, or `entries_file: {name}.csv` for a CSV file beside it",
    )
    LIST_REMOVABLE_CLASS = (
        "only a list of class protect says whether it is removable",
        "remove `removable`; from other lists entries can always be removed at run time",
    )
    ENTRIES_FILE_NAME = (
        "{value} cannot be the name of an entries file",
        "write the name of a .csv file in the same folder, without a path",
    )
    ENTRIES_FILE_UNUSED = ("no list names this file, so it would not be loaded", "add `entries_file: {file}` to a list")
    CSV_TOO_BIG = ("this file has more than {limit} {what}", "split it into several lists")
    CSV_EMPTY = ("this file has no header", "its first line names the columns: value,until,owner,source,note")
    CSV_HEADER = (
        "the header has no column {name}",
        "its first line names the columns: {known}; separate them by commas or semicolons",
    )
    CSV_COLUMN = ("{name} is no column of an entries file", "known columns: {known}")
    CSV_FIELDS = (
        "this line has {found} fields, the header {wanted}",
        "put a text with a comma or semicolon in quotes",
    )
    CSV_QUOTE = ("this quoted text does not end on its line", 'a quote within it is written twice: ""')
    CSV_CUT = (
        "the last line does not end",
        "the file was cut off, or is still being written: copy it again; where it is whole, end its last line",
    )
    CSV_LINE = ("this line is longer than {limit} characters", "shorten its notes")
    HOLIDAY_YEAR = ("{value} lies in none of the years of this calendar", "add its year to `years`")
    NAME_NOT_STEM = ("the file is called {stem}, but its {what} says {name}", "make both the same")
    NAME_TWICE = ("the {what} {name} exists already in {file}", "names are unique over all packs; choose another one")
    RANGE_OF_TEXT = ("only a number has {name}", "remove it, or write `type: number`")
    RANGE_EMPTY = ("no number is at least {least} and at most {most}", "exchange least and most")

    # The condition, as text
    EMPTY_CONDITION = ("the condition is empty", 'write what must be true, such as trunk_class == "international"')
    CONDITION_TOO_LONG = (
        "the condition has {length} characters, at most {limit}",
        "put long enumerations in a list under rules/lists",
    )
    CONDITION_TOO_DEEP = (
        "the condition is nested deeper than {limit} levels",
        "split it into two rules or simplify it",
    )
    CONDITION_TOO_MUCH = ("the condition has more than {limit} words and signs", "put long enumerations in a list")
    CONDITION_BACKSLASH = ("a backslash has no meaning here", "remove it; texts are taken as they are written")
    CONDITION_SYNTAX = (
        "the condition cannot be read from here on",
        "compare with the examples in the rule language reference",
    )
    UNKNOWN_SIGN = ("the sign {sign} has no meaning in a condition", "{advice}")
    ASSIGNMENT = ("a single = compares nothing", "write == to ask whether two values are equal")
    OPEN_QUOTE = ("the text that begins here has no closing quote", "end it with the same quote on the same line")
    CURLY_QUOTE = ("typographic quotes are not read as quotes", 'use the straight ones: "…"')
    BAD_NUMBER = (
        "{value} is not written as a number",
        "write such as 10, 0.5 or 10_000; telephone numbers go in quotes",
    )
    LEADING_ZERO = ("{value} begins with a zero", 'if it is a telephone number or a code, put it in quotes: "{value}"')
    LOOKALIKE = ("{name} has letters that only look Latin: {letters}", "{advice}")
    NOT_LATIN = ("{name} is no name here", "names are written in Latin letters; text goes in quotes")
    WORD_CASE = ("{word} must be written small", "write {advice}")
    PYTHON_WORD = ("the word {word} has no meaning in a condition", "{advice}")
    MISSING_OPERATOR = ("two values stand side by side", "put and, or, or a comparison such as == between them")
    MISSING_VALUE_BEFORE = ("a value is missing before {sign}", "write what is to be compared")
    MISSING_VALUE_END = (
        "a value is missing at the end, after {sign}",
        "write what is to be compared, or remove {sign}",
    )
    BRACKET_OPEN = ("this bracket is never closed", "add the matching {sign}")
    BRACKET_STRAY = ("this bracket closes nothing", "remove it or add the opening one")
    STRAY_COMMA = ("a comma cannot stand here", "to require two things write and between them")

    # The condition, as meaning
    UNKNOWN_NAME = ("there is no field, fact or window {name}", "{advice}")
    UNKNOWN_PARAM = ("there is no parameter {name}", "{advice}")
    UNKNOWN_LIST = ("there is no list {name}", "{advice}")
    UNKNOWN_FUNCTION = ("there is no function {name}", "{advice}")
    NOT_AVAILABLE = ("{name} cannot be used {where}", "{advice}")
    BARE_NAMESPACE = ("{name} is a family of names", "write {name}.<name>")
    NO_ATTRIBUTE = ("nothing can be taken from {name} with a dot", "a dot stands only after params and lists")
    NO_SUBSCRIPT = ("nothing can be picked with square brackets", "use in [ … ], or in lists.<name>")
    KNOWN_LATER = (
        "{name} is known only after the {event}, and this rule decides when the call is set up",
        "use a window over past calls instead, such as caller_short_share_1h",
    )
    KNOWN_AFTER_CALL = (
        "{name} is known only at the {event}, and this rule looks at a call that goes on",
        "{advice}",
    )
    ONLY_IN_PROGRESS = (
        "{name} is known only while a call goes on",
        "a rule with `on: answer`, `on: tick` or `on: report` can ask it",
    )
    NOT_KNOWN_AT = ("{name} is not known at {at}", "it is known at {kinds}: write `on: {kind}`")
    ARGUMENT_COUNT = ("{name} takes {expected}, {given} given", "{advice}")
    WRONG_TYPE = ("{what} must be {expected}, but {term} is {actual}", "{advice}")
    CANNOT_COMPARE = ("{left} is {left_type} and {right} is {right_type}: they cannot be compared", "{advice}")
    TEXT_ORDER = ("texts have no order: {sign} compares numbers only", "use ==, !=, in or prefix_in with texts")
    BOOL_COMPARE = ("{term} is yes or no already", "write {advice}")
    VALUE_IMPOSSIBLE = ("{name} is never {value}", "{advice}")
    VALUE_ALWAYS = ("{name} is always {value}", "{advice}")
    NOT_A_CONDITION = ("{term} is {actual}, not something that holds or does not", "{advice}")
    CONDITION_AS_VALUE = ("a comparison cannot be used as a value", "join conditions with and, or, not")
    CONSTANT_TERM = ("{term} is the same for every call", "compare a field, a fact or a window")
    IN_NEEDS_LIST = (
        "the right side of in must be a list, but {term} is {actual}",
        "write in [ … ], in lists.<name> or use ==",
    )
    LIST_ELEMENT = ("only plain texts or numbers stand in [ … ]", 'write them out, such as in ["KZ", "RU"]')
    LIST_MIXED = ("texts and numbers stand in one list", "use one kind; telephone numbers are texts and need quotes")
    LIST_EMPTY = ("the list [ ] is empty, so nothing is in it", "write at least one value")
    LIST_KIND = ("the list {name} holds {kind}, and {field} is not one", "{advice}")
    BETWEEN_EMPTY = ("nothing lies between {low} and {high}", "write the smaller one first")
    DIVIDES_BY_ZERO = ("this divides by zero, so it never has a value", "divide by something else")
    PREFIX_EMPTY = ("every text begins with the empty text", 'write the beginning that is meant, such as "+7700"')
    PATTERN_BAD = ("this pattern cannot be used: {reason}", "{advice}")
    PATTERN_ALWAYS = ("this pattern is found in every text", 'say what must be there, such as "^sip" or "[0-9]{{5}}"')
    PATTERN_NOT_WRITTEN = (
        "the pattern of matches must be written out, in quotes",
        'write such as matches(user_agent, "(?i)^linphone")',
    )
    BAD_TIME = (
        "{value} is no time of the day",
        'write hours and minutes in quotes, such as "22:00", or a parameter that holds the hour as a number',
    )
    TIME_EMPTY = ("from {time} to {time} no time passes", "write two different times")
    NO_CALENDAR = (
        "nobody has said which days are holidays",
        "write them into calendar.yaml in the rules directory, beside fields.yaml",
    )
    MISSING_NEEDS_NAME = ("missing( ) asks about one field, fact or window", "write such as missing(caller_age)")

    # The rule around the condition
    PLACEHOLDER = ("there is no {name} to put into this text", "{advice}")
    PLACEHOLDER_FORM = ("{form} is no way to show a value", "leave it out or write {{name:percent}}")
    BRACE = ("a curly bracket stands alone", "write {{name}} for a value, {{{{ or }}}} for the bracket itself")
    PARAM_UNUSED = ("the parameter {name} is never used", "use params.{name} in the condition or remove it")
    PARAM_TYPE = ("a parameter is a number, a text, true/false, or a list of texts or of numbers", "check {name}")
    WINDOW_UNUSED = ("the window {name} is listed but not used", "remove it from windows")
    WINDOW_UNLISTED = ("the window {name} is used but not listed under windows", "add `- {name}`")
    WINDOW_TWICE = ("the window {name} is listed twice", "remove one of them")
    WINDOW_TAKEN = ("{name} is {what} already", "give the window of this rule another name, such as {name}_here")
    WINDOW_UNKNOWN = ("there is no window {name}", "{advice}")
    TARGET_BAD = (
        "{value} is no address that a call can be sent to",
        "write a SIP address such as sip:desk@example.org, or tel:+77000000001",
    )
    EXCEPTION_NAME_TWICE = ("two exceptions are called {name}", "give each its own name")
    CODE_WITHOUT_BLOCK = ("only a blocked call is refused with a code", "remove code or write `verdict: block`")
    COMMAND_AT_SETUP = (
        "a command is for a call in progress, and this rule decides when the call is set up",
        "write `verdict: …` in its place, or `on: answer`, `on: tick` or `on: report` above when",
    )
    NOT_IN_PROGRESS = (
        "{name} is for calls that are set up, and this rule looks at a call in progress",
        "remove it; what such a rule does is `command: alert` or `command: release`",
    )
    BLOCK_CALLER_WITHOUT_BLOCK = (
        "only a rule that blocks the call blocks the caller's number",
        "remove block_caller or write `verdict: block`",
    )
    TARGET_WITHOUT_DIVERT = ("only a diverted call has a target", "remove target or write `verdict: divert`")
    LABEL_MISSING = ("the verdict label needs the label that the callee sees", "add `label: …` under then")
    PERCENT_WITHOUT_CANARY = ("only a canary has a percent", "remove percent or write `stage: canary`")
    PERCENT_MISSING = ("a canary needs the percent of calls that it applies to", "add `percent: 5` under rollout")
    PROTECT_STAGED = (
        "a rule that protects is at enforce, draft or retired",
        "protection is never tried on a share of calls",
    )
    BUDGET_OF_PROTECT = (
        "a rule that protects has no budget of false hits",
        "remove false_hits_per_million: what protects stops no call",
    )
    TESTS_ONE_SIDED = (
        "the tests have no case that expects {expect}",
        "add one: a rule shows what it hits and what it spares",
    )
    TEST_NAME_TWICE = ("two tests are called {name}", "give each its own name")
    LIKE_UNKNOWN = ("there is no test {name} before this one", "{advice}")

    # Tests with events
    EVENTS_AND_GIVEN = (
        "a test has either given or events",
        "fields, facts and windows follow from the events; remove given, or make it a test of its own",
    )
    LIKE_OTHER_TEST = ("the test {name} has no events", "name a test that has some")
    EVENTS_MISSING = ("only a test with events has {name}", "add `events:`, or remove {name}")
    COUNTRY_CODE = ("{value} is no code of a country", "write the two capital letters of ISO 3166, such as KZ")
    NOT_A_DURATION = ("{what} must be a length of time", "write such as 20s, 3m, 2h or 1d; 1h30m is an hour and a half")
    EVENT_BACKWARDS = (
        "{at} is earlier than the event on line {line}",
        "write events in the order in which they begin; at counts from the beginning of the test",
    )
    EVENT_FOLLOWS = ("{name} follows from the events and is not given with them", "{advice}")
    EVENT_NUMBER = (
        "{value} is no number that can be called",
        'write it with + and country code ("+77010000001") or as it is dialled; anything else goes into {raw}',
    )
    EVENT_REFUSED = ("the engine would refuse this event: {detail}", "correct the value, or add what is missing")
    EVENTS_TOO_MANY = (
        "with repetitions these are more than {limit} events",
        "no more are needed than take a window over its threshold; a call that ends counts as three",
    )
    EVENTS_TOO_LONG = ("this is more than {days} days after the beginning", "no window reaches further back")
    PARTY_TWICE = ("{party} is given twice", "keep one of them")
    MASK_ALONE = (
        "{value} has a # but is not repeated",
        "# stands for the digits that count repetitions: add repeat and every",
    )
    MASK_TOO_SHORT = ("{count} repetitions do not fit into {name}: {value}", "write one # for each digit of {count}")
    TRUNK_CLASSES = ("the trunk {name} is {kind} here and {other} on line {line}", "a trunk has one class in a test")
    CALL_TWICE = ("the call {name} has been set up on line {line}", "give each call a name of its own")
    CALL_UNKNOWN = ("no event before this one sets up a call {name}", "{advice}")
    CALL_REPEATED = (
        "{name} is {count} calls, and {what} belongs to one",
        "say how a repeated call went with ring_s and talk_s where it is set up",
    )
    CALL_ENDED = (
        "the call {name} has an end already, on line {line}",
        "remove this event, or ring_s, talk_s, pdd_s and cause there",
    )
    RELEASED_EARLY = (
        "the call {name} is released before its last answer, at {at}",
        "release it later; an answer comes once, so remove repeat and every from it where they are not meant",
    )
    JUDGE_UNKNOWN = ("no event sets up a call {name}", "{advice}")
    NOTHING_TO_JUDGE = (
        "no call is set up here, so there is none to judge",
        "add the call that the rule is asked about",
    )

    @property
    def code(self) -> str:
        """The stable name, as in ``--json`` and as the golden file is called."""
        return self.name.lower().replace("_", "-")

    @property
    def sentence(self) -> str:
        """What is wrong."""
        return self.value[0]

    @property
    def hint(self) -> str:
        """How to mend it."""
        return self.value[1]


_MOST_SHOWN: Final = 200


def shorten(text: str) -> str:
    """``text`` on one line, cut to what a message can carry."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_SHOWN else f"{line[: _MOST_SHOWN - 1]}…"


def did_you_mean(word: str, names: Iterable[str], otherwise: str = "") -> str:
    """``did you mean x?`` for the nearest of ``names``; else ``otherwise``, else the names if they are few.

    A word that *looks* like one of them gets told which of its letters are of another alphabet.
    """
    known = sorted(names)
    if lookalikes.meant(word, known):
        return lookalikes.advice(word)
    near = difflib.get_close_matches(word[:64].lower(), known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    if otherwise:
        return otherwise
    return f"known: {', '.join(known)}" if 0 < len(known) <= 12 else "see the rule language reference for the names"
