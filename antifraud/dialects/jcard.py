"""The signed card of RFC 8688: whom a caller turns to who was refused by mistake.

A jCard (RFC 7095) inside a JSON Web Signature (RFC 7515) with ES256 (RFC 7518 §3.4), as the value of Call-Info with
``purpose=jwscard``. It goes by reference, when the operator publishes it at an https address, or in a data URI.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from antifraud.domain import ConfigError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

HOUR_S: Final = 3600
MAX_URI: Final = 1_900
MAX_KEY_BYTES: Final = 16_384
_HALF: Final = 32


class Redress(msgspec.Struct, frozen=True):
    """The contact of one region for callers who were refused. ``published`` is where the operator serves the signed
    card, ``certificate`` where the certificate of its key lies (both https, or empty)."""

    name: str = ""
    url: str = ""
    tel: str = ""
    email: str = ""
    published: str = ""
    certificate: str = ""

    @property
    def text(self) -> str:
        """``url=…;tel=…;email=…``, what there is of them (ATIS-1000099); empty when there is no contact."""
        pairs = (("url", self.url), ("tel", self.tel), ("email", self.email))
        return ";".join(f"{name}={value}" for name, value in pairs if value)


class Signer:
    """Makes the card of one region, anew each hour; the same text within the hour, because a signature costs time."""

    def __init__(self, redress: Redress, key: EllipticCurvePrivateKey) -> None:
        self._redress = redress
        self._key = key
        self._hour = -1
        self._uri = ""

    def uri(self, now: float) -> str:
        """The address for Call-Info at ``now`` (epoch seconds): where the card is published, else the card itself."""
        if self._redress.published:
            return self._redress.published
        hour = int(now // HOUR_S)
        if hour != self._hour:
            self._uri = f"data:application/jose,{self.token(hour * HOUR_S)}"
            self._hour = hour
        return self._uri

    def token(self, issued: int) -> str:
        """The card signed, compact serialisation; ``issued`` in epoch seconds becomes ``iat``."""
        header = {"alg": "ES256", "typ": "vcard+json"}
        if self._redress.certificate:
            header["x5u"] = self._redress.certificate
        payload = {"iat": issued, "jcard": jcard(self._redress)}
        signed = f"{_encoded(header)}.{_encoded(payload)}"
        return f"{signed}.{_base64url(_sign(self._key, signed.encode('ascii')))}"


def jcard(redress: Redress) -> list[Any]:
    """The card as RFC 7095 §3 shapes it: ``["vcard", [[name, parameters, type, value], …]]``, vCard 4.0.

    ``fn`` is the one property that a card must have beside its version (RFC 6350 §6.2.1).
    """
    properties: list[list[Any]] = [["version", {}, "text", "4.0"], ["fn", {}, "text", redress.name]]
    if redress.tel:
        properties.append(["tel", {"type": "work"}, "uri", f"tel:{redress.tel}"])
    if redress.email:
        properties.append(["email", {"type": "work"}, "text", redress.email])
    if redress.url:
        properties.append(["url", {}, "uri", redress.url])
    return ["vcard", properties]


def read_key(pem: bytes) -> EllipticCurvePrivateKey:
    """The private key of a PEM text; ConfigError, without a word of what is in it, when it cannot sign with ES256."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    hint = "make one with: openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem"
    if len(pem) > MAX_KEY_BYTES:
        raise _unusable(f"more than {MAX_KEY_BYTES} bytes are no key", hint)
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise _unusable("the key is encrypted", "store it without a passphrase, readable by the engine alone") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable("there is no private key in it", hint) from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise _unusable("the key is none of the curve P-256, which ES256 needs", hint)
    return key


def _unusable(message: str, hint: str) -> ConfigError:
    return ConfigError(message, problems=[Problem(message, hint=hint)])


def _sign(key: EllipticCurvePrivateKey, data: bytes) -> bytes:
    """r and s, 32 bytes each (RFC 7518 §3.4)."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    r, s = decode_dss_signature(key.sign(data, ECDSA(SHA256())))
    return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")


def _encoded(value: Any) -> str:
    return _base64url(msgspec.json.encode(value))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
