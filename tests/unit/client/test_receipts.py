"""Receipts verified offline, against the keys as the services publish and use them."""

import hashlib
from pathlib import Path
from typing import Any

import jwt
import pytest

from todoke.client import ReceiptInvalid, Upload, verify_receipt
from todoke.relay.tokens import ReceiptSigner, SigningKey, jwks

FILE = Upload("提供票.pdf", b"%PDF-1.7")


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    """The service's receipt key."""
    return SigningKey.load_or_create(tmp_path / "receipts.pem")


def payload(**changes: Any) -> dict[str, Any]:
    return {
        "iss": "https://todoke.example",
        "typ": "download",
        "message_id": "01990000-0000-7000-8000-000000000001",
        "sender": "9970100018",
        "recipient": "9970100117",
        "sequence": "20250901120000",
        "files": [
            {
                "name_sha256": hashlib.sha256(FILE.name.encode()).hexdigest(),
                "sha256": hashlib.sha256(FILE.content).hexdigest(),
                "size": len(FILE.content),
            }
        ],
        "at": "2025-09-01T03:00:00Z",
        **changes,
    }


def test_a_receipt_proves_offices_files_and_time(key: SigningKey) -> None:
    claims = verify_receipt(
        ReceiptSigner(key).sign(payload()), jwks([key.public]), [FILE], issuer="https://todoke.example"
    )
    assert (claims.typ, claims.sender, claims.recipient) == ("download", "9970100018", "9970100117")


@pytest.mark.parametrize(
    "files", [[], [FILE, FILE], [Upload(FILE.name, b"other")], [Upload("other.pdf", FILE.content)]]
)
def test_other_files_are_not_proved(key: SigningKey, files: list[Upload]) -> None:
    with pytest.raises(ReceiptInvalid, match="files"):
        verify_receipt(ReceiptSigner(key).sign(payload()), jwks([key.public]), files)


def test_a_changed_receipt_is_not_believed(key: SigningKey) -> None:
    head, body, signature = ReceiptSigner(key).sign(payload()).split(".")
    other_body = ReceiptSigner(key).sign(payload(recipient="9970100216")).split(".")[1]
    for forged in (f"{head}.{other_body}.{signature}", f"{head}.{body}.", "x.y.z", "", "a" * 100_000):
        with pytest.raises(ReceiptInvalid):
            verify_receipt(forged, jwks([key.public]))


def test_a_receipt_of_an_unknown_key_or_another_service_is_not_believed(key: SigningKey, tmp_path: Path) -> None:
    stranger = SigningKey.load_or_create(tmp_path / "stranger.pem")
    with pytest.raises(ReceiptInvalid, match="unknown key"):
        verify_receipt(ReceiptSigner(stranger).sign(payload()), jwks([key.public]))
    with pytest.raises(ReceiptInvalid, match="issuer"):
        verify_receipt(ReceiptSigner(key).sign(payload()), jwks([key.public]), issuer="https://elsewhere.example")


def test_a_token_signed_by_the_same_key_is_no_receipt(key: SigningKey) -> None:
    token = jwt.encode(payload(), key.private, algorithm="EdDSA", headers={"kid": key.key_id, "typ": "at+jwt"})
    with pytest.raises(ReceiptInvalid, match="type"):
        verify_receipt(token, jwks([key.public]))
