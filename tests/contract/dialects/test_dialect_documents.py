"""What is written about dialects and the fail policy agrees with the table, the code and Kamailio's configuration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from antifraud.dialects import PLACES, DialectsDocument, compile_table
from antifraud.domain.sip_headers import MAX_BYTES, MAX_LINES, ONWARD_HEADERS, RESPONSE_HEADERS
from antifraud.settings import load_settings
from antifraud.settings.check import check, plain_value
from antifraud.settings.dialect_reference import replace_dialects
from antifraud.settings.schema import Document
from antifraud.settings.tree import read_file, read_text

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
KAMAILIO = (ROOT / "sip_adapters/switches/kamailio/antifraud.cfg").read_text(encoding="utf-8")


def test_the_reference_page_is_current() -> None:
    page = (DOCS / "reference/dialects.md").read_text(encoding="utf-8")
    table = load_settings(ROOT / "config", env={}).dialects
    assert replace_dialects(page, table) == page, (
        "run: python -m antifraud.settings.dialect_reference docs/reference/dialects.md"
    )


def test_the_page_names_the_headers_that_switches_use() -> None:
    page = (DOCS / "reference/dialects.md").read_text(encoding="utf-8")
    rows = {row[0]: re.findall(r"`([A-Za-z-]+)`", row[1]) for row in re.findall(r"\| (.* \(.*\)) \| (`.*) \|", page)}
    assert rows["a final response (block, divert, challenge)"] == list(RESPONSE_HEADERS)
    assert rows["a call that goes on (label, allow)"] == list(ONWARD_HEADERS)


@pytest.mark.parametrize(
    ("route", "names"), [("ANTIFRAUD_REPLY_LINES", RESPONSE_HEADERS), ("ANTIFRAUD_ONWARD_LINES", ONWARD_HEADERS)]
)
def test_kamailio_uses_the_same_headers(route: str, names: tuple[str, ...]) -> None:
    body = KAMAILIO.partition(f"route[{route}] {{")[2].partition("\n}\n")[0]
    found = re.search(r'=~ "\^\(([A-Za-z|-]+)\|\[Xx\]', body)
    assert found is not None
    assert tuple(found[1].split("|")) == names
    assert f"> {MAX_LINES}) $var(af_line_count) = {MAX_LINES};" in body
    assert f"{{s.len}}) > {MAX_BYTES})" in body


@pytest.mark.parametrize("page", ["how-to/choose-a-dialect.md"])
def test_the_yaml_in_the_documentation_is_right(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 4
    for number, block in enumerate(blocks):
        node = read_text(block, f"{page}, example {number + 1}")
        structure = DialectsDocument if node.child("dialects") is not None else Document
        assert [problem.render() for problem in check(node, structure)] == []


def test_the_example_of_a_dialect_of_ones_own_works(tmp_path: Path) -> None:
    text = (DOCS / "how-to/choose-a-dialect.md").read_text(encoding="utf-8")
    (block,) = [one for one in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL) if one.startswith("dialects")]
    (tmp_path / "regions").mkdir()
    (tmp_path / "default.yaml").write_text(
        "default_region: KZ-75\npolicy: {dialect: {block: transit603}, redress: {tel: '+77010000000'}}\n"
    )
    (tmp_path / "regions/KZ-75.yaml").write_text("name: {en: A, ru: A, kk: A}\n")
    (tmp_path / "dialects.yaml").write_text(block, encoding="utf-8")
    table = load_settings(tmp_path, env={}).dialects
    form = table["transit603"].forms["block"]
    assert (form.status, form.phrase) == (603, "Network Blocked")
    assert form.headers[0][1].last == '";location=TN'


def test_every_place_is_used_or_offered() -> None:
    text = (ROOT / "config/dialects.yaml").read_text(encoding="utf-8")
    head = text.partition("dialects:\n")[0].replace("\n#", "")
    for place in PLACES:
        assert place in head, place


def test_the_shipped_table_compiles() -> None:
    node = read_file(ROOT / "config/dialects.yaml", "dialects.yaml")
    assert check(node, DialectsDocument) == []
    table, wrong = compile_table(plain_value(node, DialectsDocument)["dialects"])
    assert wrong == []
    assert len(table) >= 15
