"""Receipts (受領証) verified offline: a compact JWS, Ed25519 (RFC 7515, RFC 8037), with the published keys."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from pydantic import ValidationError

from todoke.client.core import Upload
from todoke.client.errors import ReceiptInvalid
from todoke.client.shapes import ReceiptClaims

ALGORITHM = "EdDSA"
RECEIPT_TYPE = "receipt+jws"
RECEIPT_BYTES_MAX = 65_536
"""Longest receipt that is looked at: thirty files take about 6 KB."""

_JWS = jwt.PyJWS(algorithms=[ALGORITHM])


def verify_receipt(
    receipt: str, jwks: Mapping[str, Any], files: Sequence[Upload] | None = None, *, issuer: str | None = None
) -> ReceiptClaims:
    """What the receipt proves, after its signature, type and key have been checked; needs no network.

    Args:
        receipt: the compact JWS.
        jwks: the JSON of `/.well-known/jwks.json` (RFC 7517), kept from whenever it was fetched.
        files: when given, names and bytes must be those that the receipt names, in its order.
        issuer: when given, the service that must have signed.

    Raises:
        ReceiptInvalid: it is no receipt, of an unknown key, changed, or speaks of other files.
    """
    if len(receipt) > RECEIPT_BYTES_MAX:
        raise ReceiptInvalid("too long")
    claims = _claims(_payload(receipt, jwks))
    if issuer is not None and claims.iss != issuer:
        raise ReceiptInvalid("issuer")
    if files is not None and tuple(map(_fingerprint, files)) != _fingerprints(claims):
        raise ReceiptInvalid("files")
    return claims


def _payload(receipt: str, jwks: Mapping[str, Any]) -> Any:
    try:
        header = jwt.get_unverified_header(receipt)
        if header.get("alg") != ALGORITHM or header.get("typ") != RECEIPT_TYPE:
            raise ReceiptInvalid("type")
        return json.loads(_JWS.decode(receipt, _key(jwks, header.get("kid")), algorithms=[ALGORITHM]))
    except jwt.InvalidSignatureError:
        raise ReceiptInvalid("signature") from None
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise ReceiptInvalid("malformed") from None


def _key(jwks: Mapping[str, Any], key_id: object) -> Any:
    for key in jwks.get("keys", []):
        if key.get("kid") == key_id and key.get("kty") == "OKP" and key.get("crv") == "Ed25519":
            return jwt.PyJWK(key, algorithm=ALGORITHM).key
    raise ReceiptInvalid("unknown key")


def _claims(payload: Any) -> ReceiptClaims:
    try:
        return ReceiptClaims.model_validate(payload)
    except ValidationError:
        raise ReceiptInvalid("malformed") from None


def _fingerprint(file: Upload) -> tuple[str, str, int]:
    return _sha256(file.name.encode()), _sha256(file.content), len(file.content)


def _fingerprints(claims: ReceiptClaims) -> tuple[tuple[str, str, int], ...]:
    return tuple((file.name_sha256, file.sha256, file.size) for file in claims.files)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
