"""Advice about what people write elsewhere: for any text at all it is one line, or nothing."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from antifraud.rulekit import elsewhere
from antifraud.rulekit.form import end_of

dates = st.tuples(st.integers(0, 99_999), st.integers(0, 99), st.integers(0, 99))
written = st.one_of(
    st.text(max_size=64),
    dates.map(lambda parts: f"{parts[0]:04}-{parts[1]:02}-{parts[2]:02}"),
    dates.map(lambda parts: f"{parts[2]}.{parts[1]}.{parts[0]}"),
    st.from_regex(r"\A[0-9]{1,9}[,.%a-z ]{0,3}[0-9]{0,6}\Z"),
)


@given(written)
@example("0000-02-30")
@example("9999-02-29")
@example("9" * 64 + "%")
def test_advice_is_one_line_or_nothing(text: str) -> None:
    for advice in (
        elsewhere.date(text),
        elsewhere.number(text, "percent"),
        elsewhere.number(text, "hour"),
        elsewhere.length_of_time(text),
        elsewhere.weekday(text),
        elsewhere.target(text),
        elsewhere.key(text, "this rule"),
        elsewhere.choice(text, "verdict"),
    ):
        assert "\n" not in advice
        assert len(advice) < 300


@given(dates)
def test_a_date_that_is_proposed_is_one(parts: tuple[int, int, int]) -> None:
    year, month, day = parts
    for text in (f"{year}-{month}-{day}", f"{day}.{month}.{year}"):
        advice = elsewhere.date(text)
        if advice.startswith("write 2") and " " not in advice.removeprefix("write "):
            assert end_of(advice.removeprefix("write ")) is not None
