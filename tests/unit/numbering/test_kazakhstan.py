"""The plan of Kazakhstan against what phonenumbers knows of its areas and operators."""

from __future__ import annotations

from pathlib import Path

import pytest
from phonenumbers.carrierdata import CARRIER_DATA
from phonenumbers.geodata import GEOCODE_DATA

from antifraud.numbering import Numbering, load_dial_plan

ROOT = Path(__file__).resolve().parents[3]
PLAN = load_dial_plan(ROOT / "config/dialplans/kz.yaml")
KZ = Numbering(PLAN)

REGIONS = {
    "KZ-10": "Abai", "KZ-11": "Aqmola", "KZ-15": "Aqtobe", "KZ-19": "Almaty region", "KZ-23": "Atyrau",
    "KZ-27": "West Kazakhstan", "KZ-31": "Jambyl", "KZ-33": "Jetisu", "KZ-35": "Qaraghandy", "KZ-39": "Qostanay",
    "KZ-43": "Qyzylorda", "KZ-47": "Mangghystau", "KZ-55": "Pavlodar", "KZ-59": "North Kazakhstan",
    "KZ-61": "Turkistan", "KZ-62": "Ulytau", "KZ-63": "East Kazakhstan", "KZ-71": "Astana", "KZ-75": "Almaty",
    "KZ-79": "Shymkent",
}  # fmt: skip

#: Places in the geocoder's words → the region they lie in since 2022. Among them all regional centres and the
#: places that the reform of 2022 moved.
PLACES = {
    "Semey": "KZ-10", "Ayagoz": "KZ-10", "Kurchatov": "KZ-10", "Urdzhar": "KZ-10", "Shar": "KZ-10",
    "Kalbatau": "KZ-10", "Kokpekty": "KZ-10", "Borodulikha": "KZ-10", "Aksuat": "KZ-10",
    "Kokshetau/Krasni Yar": "KZ-11", "Stepnogorsk": "KZ-11", "Aktobe/Kargalinskoye": "KZ-15",
    "Otegen Batyra": "KZ-19", "Talgar": "KZ-19", "Kaskelen": "KZ-19", "Kapchagai": "KZ-19", "Esik": "KZ-19",
    "Karassaisky District": "KZ-19", "Atyrau": "KZ-23", "Kulsary": "KZ-23", "Uralsk": "KZ-27", "Aksai": "KZ-27",
    "Taraz": "KZ-31", "Shu": "KZ-31", "Taldykorgan": "KZ-33", "Zharkent": "KZ-33", "Tekeli": "KZ-33",
    "Karaganda": "KZ-35", "Aktau/Temirtau": "KZ-35", "Balkhash": "KZ-35", "Priozersk": "KZ-35", "Agadyr": "KZ-35",
    "Aksu-Ayuly": "KZ-35", "Kostanai": "KZ-39", "Rudny": "KZ-39", "Arkalyk": "KZ-39", "Kyzylorda": "KZ-43",
    "Aralsk": "KZ-43", "Aktau": "KZ-47", "Zhanaozen": "KZ-47", "Pavlodar": "KZ-55", "Ekibastuz": "KZ-55",
    "Petropavlovsk": "KZ-59", "Turkestan": "KZ-61", "Kentau": "KZ-61", "Saryagash": "KZ-61", "Zhezkazgan": "KZ-62",
    "Satpaev": "KZ-62", "Karazhal": "KZ-62", "Atasu": "KZ-62", "Ulytau": "KZ-62", "Ust-Kamenogorsk": "KZ-63",
    "Ridder": "KZ-63", "Zaisan": "KZ-63", "Samarskoye": "KZ-63", "Astana": "KZ-71", "Almaty": "KZ-75",
    "Shymkent": "KZ-79",
}  # fmt: skip

#: Districts of which there are several under one name, in different regions.
HOMONYMS = {"Абайский р-н", "Аксуский р-н", "Актогайский р-н", "Есильский р-н", "Жамбылский р-н"}

#: Districts that were divided in 2022: Samar left Kokpekty, Aksuat left Tarbagatai.
DIVIDED = {"Кокпектинский р-н", "Тарбагатайский р-н"}

_NAMES = {"Kcell/Activ": "Kcell", "T2": "Tele2/Altel"}


def _geographic() -> dict[str, dict[str, str]]:
    return {prefix[1:]: names for prefix, names in GEOCODE_DATA.items() if prefix[:2] == "77"}


def _region(prefix: str) -> str:
    return KZ.facts("+7" + prefix.ljust(10, "0")).region


def test_all_twenty_regions_have_an_area() -> None:
    assert PLAN.regions == REGIONS
    assert set(PLAN.areas.values()) == set(REGIONS)


def test_every_known_area_lies_in_a_region() -> None:
    assert len(_geographic()) > 200
    assert [prefix for prefix in _geographic() if not _region(prefix)] == []


def test_every_fixed_line_code_in_the_metadata_lies_in_a_region() -> None:
    codes = [f"7{zone}{town:02d}" for zone in (*range(10, 19), *range(21, 30)) for town in range(100)]
    valid = [code for code in codes if KZ.facts(f"+7{code}00000").type == "fixed"]
    assert len(valid) > 200
    assert [code for code in valid if not _region(code)] == []


@pytest.mark.parametrize(("place", "region"), PLACES.items())
def test_places_lie_where_they_are(place: str, region: str) -> None:
    prefixes = [prefix for prefix, names in _geographic().items() if names.get("en") == place]
    assert prefixes, "the geocoder no longer knows this place"
    assert {_region(prefix) for prefix in prefixes} == {region}


def test_no_district_is_torn_apart() -> None:
    districts: dict[str, set[str]] = {}
    for prefix, names in _geographic().items():
        name = names.get("ru", "")
        if name.endswith("р-н") and name not in HOMONYMS:
            districts.setdefault(name, set()).add(_region(prefix))
    assert len(districts) > 80
    assert {name for name, regions in districts.items() if len(regions) > 1} == DIVIDED


def test_operators_hold_the_ranges_that_phonenumbers_gives_them() -> None:
    carriers = {prefix[1:]: names["en"] for prefix, names in CARRIER_DATA.items() if prefix[:2] == "77"}
    assert len(carriers) > 10
    ours = {
        prefix: KZ.facts("+7" + prefix.ljust(10, "0" if prefix != "74" else "7")).operator
        for prefix in carriers
        if prefix != "78"  # of 78x only 785 is in service
    }
    assert ours == {prefix: _NAMES.get(carriers[prefix], carriers[prefix]) for prefix in ours}
    assert KZ.facts("+77850000000").operator == carriers["78"]


def test_regions_and_operators_are_facts_of_complete_home_numbers_only() -> None:
    assert KZ.facts("+772721234").region == ""
    assert KZ.facts("+7701000").operator == ""
    assert KZ.facts("+7700000123").operator == ""
    assert KZ.facts("+442071838750").region == ""
