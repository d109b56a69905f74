"""Every message of RFC 4475, with what this parser makes of it and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from sip_adapters.sip import SipError, invite_event, parse

VALID = {
    "wsinv", "intmeth", "esc01", "escnull", "esc02", "lwsdisp", "longreq", "dblreq", "semiuri", "transports", "mpart01",
    "unreason", "noreason",
    # well formed; what is wrong with them is for the layers above
    "badbranch", "bcast", "bext01", "cparam01", "cparam02", "inv2543", "invut", "novelsc", "regaut01", "regescrt",
    "sdp01", "unkscm", "unksm2", "zeromf",
    # Date is not read here, and §3.1.2.12 leaves ignoring it open
    "baddate",
}  # fmt: skip
INVALID = {
    "badaspec": (400, "uri-garbled"),
    "baddn": (400, "address-garbled"),
    "badinv01": (400, "param-empty"),
    "badvers": (505, "version"),
    "bigcode": (400, "status-absurd"),
    "clerr": (400, "body-short"),
    "escruri": (400, "uri-garbled"),
    "insuf": (400, "header-missing"),
    "ltgtruri": (400, "uri-garbled"),
    "lwsruri": (400, "start-line-garbled"),
    "lwsstart": (400, "start-line-garbled"),
    "mcl01": (400, "header-repeated"),
    "mismatch01": (400, "cseq-mismatch"),
    "mismatch02": (400, "cseq-mismatch"),
    "multi01": (400, "header-repeated"),
    "ncl": (400, "number-garbled"),
    "quotbal": (400, "quote-unbalanced"),
    "regbadct": (400, "address-garbled"),
    "scalar02": (400, "cseq-garbled"),
    "scalarlg": (400, "cseq-garbled"),
    "trws": (400, "start-line-garbled"),
}
UNANSWERABLE = {"insuf", "bigcode", "scalarlg"}


@pytest.mark.needs("shared_data")
def test_every_message_has_its_expected_outcome(shared_data: Path) -> None:
    found = {path.stem for path in (shared_data / "rfc4475").glob("*.dat")}
    assert found == VALID | set(INVALID)


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", sorted(VALID))
def test_valid(shared_data: Path, name: str) -> None:
    message = parse((shared_data / "rfc4475" / f"{name}.dat").read_bytes())
    assert message.call_id
    assert message.via.sent_by


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", sorted(INVALID))
def test_invalid(shared_data: Path, name: str) -> None:
    with pytest.raises(SipError) as caught:
        parse((shared_data / "rfc4475" / f"{name}.dat").read_bytes())
    assert (caught.value.status, caught.value.code) == INVALID[name]
    assert (caught.value.envelope is None) == (name in UNANSWERABLE)


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", ["baddn", "quotbal"])
def test_a_bystander_infers_missing_quotes(shared_data: Path, name: str) -> None:
    message = parse((shared_data / "rfc4475" / f"{name}.dat").read_bytes(), infer=True)
    assert message.sender.uri.user in ("a.g.bell", "caller")


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize(
    ("name", "caller", "callee"),
    [
        ("wsinv", "jdrosen", "vivekg"),
        ("esc01", "I have spaces", "sips:user@example.com"),
        ("inv2543", "+13035551111", "UserB"),
        ("longreq", "amazinglylongcallername" * 5, "user"),
    ],
)
def test_torturous_invites_keep_their_numbers(shared_data: Path, name: str, caller: str, callee: str) -> None:
    message = parse((shared_data / "rfc4475" / f"{name}.dat").read_bytes())
    event = invite_event(message, ts=1_732_338_000.0, source="test")
    assert (event.caller_raw, event.callee_raw) == (caller, callee)


@pytest.mark.needs("shared_data")
@pytest.mark.parametrize("name", ["unkscm", "novelsc"])
def test_unknown_schemes_are_no_numbers(shared_data: Path, name: str) -> None:
    raw = (shared_data / "rfc4475" / f"{name}.dat").read_bytes().replace(b"OPTIONS", b"INVITE")
    with pytest.raises(SipError) as caught:
        invite_event(parse(raw), ts=1_732_338_000.0, source="test")
    assert caught.value.status == 416
