"""The signed card of RFC 8688, verified without the code that made it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from antifraud.dialects import Choice, Redress, Signer, Speaker, jcard, read_key
from antifraud.domain import ConfigError
from antifraud.settings import load_settings
from tests.unit.dialects.test_dialects_against_rfcs import REDRESS, TABLE, decision

NOON = 1_795_435_200.0


def pem(key: Any, password: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    encoded: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    return encoded


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def unpadded(text: str) -> bytes:
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verified(token: str, public: ec.EllipticCurvePublicKey) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload of a JWS in compact serialisation (RFC 7515 §5.2, RFC 7518 §3.4)."""
    protected, payload, signature = token.split(".")
    raw = unpadded(signature)
    assert len(raw) == 64
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public.verify(der, f"{protected}.{payload}".encode("ascii"), ec.ECDSA(SHA256()))
    return json.loads(unpadded(protected)), json.loads(unpadded(payload))


def test_the_card_of_a_refusal_can_be_verified(key: ec.EllipticCurvePrivateKey) -> None:
    redress = Redress(**{name: getattr(REDRESS, name) for name in ("name", "url", "tel", "email")},
                      certificate="https://cert.example/antifraud.cer")  # fmt: skip
    voice = Speaker(TABLE, {"KZ-75": Choice()}, {}, {"KZ-75": 608}, {"KZ-75": redress}, {"KZ-75": Signer(redress, key)})
    wording = voice.say(decision(), NOON + 1234.5)
    name, value = wording.headers[0]
    assert name == "Call-Info"
    uri, purpose = value.split(">;")
    # RFC 8688 §3.2: the purpose; RFC 2397 and RFC 7515 §9.2.1: the card inside the address.
    assert purpose == "purpose=jwscard"
    assert uri.startswith("<data:application/jose,")
    header, payload = verified(uri.partition(",")[2], key.public_key())
    assert header == {"alg": "ES256", "typ": "vcard+json", "x5u": "https://cert.example/antifraud.cer"}
    assert payload["iat"] == int(NOON)
    kind, properties = payload["jcard"]
    # RFC 7095 §3.2, §3.3: "vcard", properties of four or more values, the version first; RFC 6350: fn must be there.
    assert kind == "vcard"
    assert properties[0] == ["version", {}, "text", "4.0"]
    assert all(len(one) >= 4 and isinstance(one[1], dict) for one in properties)
    assert ["fn", {}, "text", "Redress"] in properties
    assert ["tel", {"type": "work"}, "uri", "tel:+77010000000"] in properties
    assert ["email", {"type": "work"}, "text", "redress@operator.example"] in properties
    assert ["url", {}, "uri", "https://redress.example/blocked"] in properties
    assert len(value) < 1_000, "the response has to fit into a datagram"


def test_a_changed_card_is_noticed(key: ec.EllipticCurvePrivateKey) -> None:
    token = Signer(REDRESS, key).token(1)
    protected, payload, signature = token.split(".")
    forged = base64.urlsafe_b64encode(unpadded(payload).replace(b"redress.example", b"scammer.example"))
    with pytest.raises(InvalidSignature):
        verified(f"{protected}.{forged.rstrip(b'=').decode()}.{signature}", key.public_key())


def test_one_signature_an_hour(key: ec.EllipticCurvePrivateKey) -> None:
    signer = Signer(REDRESS, key)
    first = signer.uri(NOON)
    assert signer.uri(NOON + 3599) == first
    assert signer.uri(NOON + 3600) != first


def test_a_card_that_is_published_goes_by_reference(key: ec.EllipticCurvePrivateKey) -> None:
    redress = Redress(name="Redress", tel="+77010000000", published="https://redress.example/card")
    voice = Speaker(TABLE, {"KZ-75": Choice()}, {}, {"KZ-75": 608}, {"KZ-75": redress}, {"KZ-75": Signer(redress, key)})
    assert voice.say(decision(), NOON).headers[0] == ("Call-Info", "<https://redress.example/card>;purpose=jwscard")


def test_only_what_there_is_stands_in_the_card() -> None:
    assert jcard(Redress(name="R")) == ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "R"]]]


@pytest.mark.parametrize(
    ("made", "wrong"),
    [
        (b"", "there is no private key in it"),
        (b"\xff\x00 garbage", "there is no private key in it"),
        (b"x" * 20_000, "more than 16384 bytes are no key"),
    ],
)
def test_what_is_no_key(made: bytes, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        read_key(made)


def test_keys_of_other_kinds_are_refused() -> None:
    for other in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(ConfigError, match="P-256"):
            read_key(pem(other))
    with pytest.raises(ConfigError, match="encrypted"):
        read_key(pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))


def test_a_key_that_cannot_be_used_is_told_with_its_place_and_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "regions").mkdir()
    (tmp_path / "default.yaml").write_text("default_region: KZ-75\n")
    (tmp_path / "regions" / "KZ-75.yaml").write_text(
        "name: {en: A, ru: A, kk: A}\npolicy:\n  redress: {name: R, tel: '+77010000000', key_file: key.pem}\n"
    )
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    settings = load_settings(tmp_path, env={})
    with pytest.raises(ConfigError) as caught:
        settings.speaker()
    message = caught.value.render()
    assert "KZ-75.yaml:3:53: policy.redress.key_file:" in message
    assert "there is no private key in it" in message
    assert "c2VjcmV0" not in message
    settings.speaker(sign=False)
    (tmp_path / "key.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    assert settings.signer("KZ-75") is not None
    shown = {value.name: value.value for value in settings.values("KZ-75")}
    assert shown["policy.redress.key_file"] == "key.pem"
