"""A message that is handed in is safe, sealed, said once, and answered with a receipt."""

import hashlib
import json
from typing import Any

from services.ingest.timers import ORPHAN_AGE
from todoke.client import shapes
from todoke.events import PAYLOAD_BYTES_MAX
from todoke.relay.bundle import Span, read_parts
from todoke.relay.limits import Limits
from todoke.relay.manifest import RECEIPT_LABEL, unseal_manifest, unseal_text
from todoke.relay.seal import Binding, commitment
from todoke.relay.service import Shared
from todoke.relay.testing import ManualClock, Stage
from todoke.relay.tokens import ReceiptVerifier

from .conftest import NAMES, OTHER, RECIPIENT, SENDER, Client, said

PLAN = f"UPPLAN_202509_{SENDER}_43_{RECIPIENT}_11_20250825121901.CSV"
ANNEX = f"UPSIKYU_202509_{SENDER}_43_{RECIPIENT}_11_20250825121901.CSV"


async def test_a_set_is_answered_with_202_and_a_receipt(client: Client, shared: Shared) -> None:
    files = [(PLAN, b"form 6"), (ANNEX, b"form 7"), ("記録 1.pdf", b"%PDF-1.7")]
    response = await client.send({"text": "9月分です"}, files)
    assert response.status_code == 202
    answer = response.json()
    assert response.headers["Location"] == f"/v1/messages/{answer['message_id']}"
    assert answer["sender"] == {"number": SENDER, "name": NAMES[SENDER]}
    assert answer["recipient"] == {"number": RECIPIENT, "name": NAMES[RECIPIENT]}
    assert (answer["sequence"], answer["replayed"]) == ("20250825121901", False)
    payload = ReceiptVerifier([shared.receipt_key.public]).verify(answer["receipt"])
    assert payload == {
        "iss": shared.settings.address,
        "typ": "submission",
        "message_id": answer["message_id"],
        "sender": SENDER,
        "recipient": RECIPIENT,
        "sequence": "20250825121901",
        "files": [
            {
                "name_sha256": hashlib.sha256(name.encode()).hexdigest(),
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
            }
            for name, data in files
        ],
        "at": answer["submitted_at"],
    }


async def test_the_event_says_all_and_seals_what_is_personal(client: Client, ingest: Stage, shared: Shared) -> None:
    files = [(PLAN, b"form 6"), ("秘密の名前.pdf", b"%PDF-1.7 canary")]
    answer = (await client.send({"text": "山田花子様の件"}, files)).json()
    [event] = await said(ingest)
    package = event.package
    assert (str(event.message_id), event.key(), event.recipient) == (answer["message_id"], SENDER, RECIPIENT)
    assert (event.sender_version, event.recipient_version, event.actor.kind) == (1, 1, "person")
    assert (package.csv_version, package.months, package.sender_service, package.service_type) == (
        "202407",
        ("202509",),
        "43",
        "11",
    )
    assert [(part.ordinal, part.role, part.kind, part.size) for part in package.parts] == [
        (1, "data", "UPPLAN", 6),
        (2, "attachment", None, 15),
    ]
    binding = Binding(event.message_id, SENDER, RECIPIENT, package.epoch)
    month_key = await shared.keys.key(package.epoch)
    manifest = unseal_manifest(package.manifest, shared.seal, month_key=month_key, binding=binding)
    assert manifest.text == "山田花子様の件"
    assert manifest.by.user == "c0000000018"
    assert [(file.n, file.name, file.size) for file in manifest.files] == [(1, PLAN, 6), (2, "秘密の名前.pdf", 15)]
    receipt = unseal_text(event.receipt_sealed, shared.seal, month_key=month_key, binding=binding, label=RECEIPT_LABEL)
    assert receipt == answer["receipt"]
    boxes = await read_parts(
        shared.objects, package.object_key, [Span(part.offset, part.length) for part in package.parts]
    )
    for box, part, (_, data) in zip(boxes, package.parts, files, strict=True):
        assert hashlib.sha256(box).hexdigest() == part.sealed_sha256
        plain = shared.seal.unseal(box, month_key=month_key, binding=binding, label=f"part:{part.ordinal}")
        assert plain == data
        assert commitment(manifest.salt_bytes(), plain) == part.commitment


async def test_nothing_personal_stands_in_the_database(client: Client, ingest: Stage) -> None:
    secrets = ["カナリア太郎", "canary-text", "canary-key-77", hashlib.sha256(b"canary-content").hexdigest()]
    await client.send(
        {"recipient": RECIPIENT, "text": "canary-text"}, [("カナリア太郎.pdf", b"canary-content")], key="canary-key-77"
    )
    async with ingest.db.worker() as tx:
        tables = await tx.db.fetch(
            "SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.relnamespace = 'ingest'::regnamespace"
            " AND c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'SELECT')"
        )
        found = ""
        for table in tables:
            rows = await tx.db.fetch(f"SELECT t::text FROM {table['name']} t")
            found += "".join(map(str, rows))
    assert RECIPIENT in found
    assert not [secret for secret in secrets if secret in found or json.dumps(secret).strip('"') in found]


async def test_a_text_alone_needs_no_object(client: Client, ingest: Stage) -> None:
    response = await client.send({"recipient": RECIPIENT, "text": "お願いします"})
    assert response.status_code == 202
    [event] = await said(ingest)
    assert event.package.parts == ()
    assert len(response.json()["sequence"]) == 14


async def test_messages_without_a_sequence_get_different_ones(client: Client) -> None:
    made = [
        (await client.send({"recipient": RECIPIENT, "text": "a"}, key=f"key-{n}")).json()["sequence"] for n in range(70)
    ]
    assert made == sorted(set(made))


async def test_the_largest_message_fits_into_its_event(client: Client, ingest: Stage) -> None:
    files = [(f"UPKIHON_IMAGE_{SENDER}_43_{RECIPIENT}_11_20250825121901_{n:04}.jpg", b"x") for n in range(20)]
    files += [("あ" * 80 + f"{n}.pdf", b"x") for n in range(10)]
    response = await client.send({"text": "\U0001f600" * 1000}, files)
    assert response.status_code == 202
    [event] = await said(ingest)
    assert len(event.model_dump_json(exclude_none=True).encode()) < PAYLOAD_BYTES_MAX * 0.75


async def test_a_second_request_after_the_202_is_later(client: Client) -> None:
    first = (await client.send({"recipient": RECIPIENT, "text": "a"}, key="1")).json()
    second = (await client.send({"recipient": OTHER, "text": "b"}, key="2")).json()
    assert first["submitted_at"] < second["submitted_at"]
    assert first["message_id"] < second["message_id"]


async def test_the_idempotency_key_is_required_and_plain(client: Client) -> None:
    for key in (None, b"", b"x" * 65, "日本".encode(), b"a b"):
        headers = [(name.encode(), value.encode()) for name, value in client.headers.items()]
        headers += [] if key is None else [(b"Idempotency-Key", key)]
        response = await client.http.post(
            "/v1/messages", files={"message": (None, b'{"text":"a"}', "application/json")}, headers=headers
        )
        assert (response.status_code, response.json()["code"]) == (400, "TDK-IDEMPOTENCY-KEY")


async def test_what_is_refused_at_once_is_kept_nowhere(client: Client, ingest: Stage) -> None:
    refused: list[tuple[Any, list[tuple[str, bytes]], tuple[int, str]]] = [
        ({"text": "a"}, [], (422, "TDK-NO-RECIPIENT")),
        ({"recipient": "9979999999", "text": "a"}, [], (422, "TDK-UNKNOWN-OFFICE")),
        ({"recipient": SENDER, "text": "a"}, [], (422, "TDK-OWN-NUMBER")),
        ({"recipient": RECIPIENT}, [], (422, "TDK-NOTHING-TO-SEND")),
        ({}, [("bad.csv", b"x")], (422, "TDK-FILE-NAME")),
        ({"recipient": RECIPIENT}, [("a/b.pdf", b"x")], (422, "TDK-FILE-NAME-PATH")),
        ({"recipient": RECIPIENT}, [("a.pdf", b"x"), ("a.pdf", b"y")], (422, "TDK-FILE-NAME-TWICE")),
        ({}, [(PLAN.replace(SENDER, OTHER), b"x")], (422, "TDK-SENDER-MISMATCH")),
        ({"recipient": RECIPIENT, "text": "a" * 1001}, [], (413, "TDK-TEXT-TOO-LONG")),
        ({"recipient": RECIPIENT}, [(f"{n}.pdf", b"x") for n in range(11)], (413, "TDK-ATTACHMENTS-TOO-MANY")),
        ({"recipient": RECIPIENT}, [(f"{n}.pdf", b"x") for n in range(31)], (413, "TDK-FILES-TOO-MANY")),
        ({"recipient": RECIPIENT}, [("a.pdf", b"x" * (10 * 1024 * 1024 + 1))], (413, "TDK-FILE-TOO-LARGE")),
        ({"recipient": 5}, [], (422, "TDK-INVALID")),
        (b"{", [], (400, "TDK-BODY-MALFORMED")),
    ]
    for body, files, answer in refused:
        response = await client.send(body, files)
        assert (response.status_code, response.json()["code"]) == answer
        assert response.headers["Content-Type"] == "application/problem+json"
    assert await said(ingest) == []
    async with ingest.db.worker() as tx:
        assert await tx.db.fetchval("SELECT count(*) FROM idempotency") == 0


async def test_who_may_not_send_is_refused(client: Client, ingest: Stage) -> None:
    ended = ingest.token(SENDER, licence_until=None)
    response = await Client(client.http, ended).send({"recipient": RECIPIENT, "text": "a"})
    assert (response.status_code, response.json()["code"]) == (403, "TDK-NO-LICENCE-ANY")
    viewer = ingest.token(SENDER, roles=("viewer",))
    response = await Client(client.http, viewer).send({"recipient": RECIPIENT, "text": "a"})
    assert (response.status_code, response.json()["code"]) == (403, "TDK-NOT-ALLOWED")
    response = await Client(client.http, {}).send({"recipient": RECIPIENT, "text": "a"})
    assert response.status_code == 401


async def test_an_office_that_is_not_in_the_directory_yet_is_asked_to_come_again(ingest: Stage, client: Client) -> None:
    response = await Client(client.http, ingest.token("9970199999")).send({"recipient": RECIPIENT, "text": "a"})
    assert (response.status_code, response.json()["code"]) == (503, "TDK-DIRECTORY-BEHIND")
    assert response.headers["Retry-After"] == "1"


async def test_limits_are_served_with_units(client: Client) -> None:
    limits = (await client.http.get("/v1/limits")).json()
    assert limits["file_bytes_max"] == {"value": 10485760, "unit": "bytes"}
    assert limits["sends_per_second_office"]["unit"] == "messages a second"
    fixed = {
        "waiting_at_once_office": (400, "requests"),
        "streams_at_once_user": (6, "streams"),
        "webhooks_office": (10, "webhooks"),
        "mail_targets_max": (20, "addresses"),
        "searched_messages_max": (5000, "messages"),
        "json_body_bytes_max": (65536, "bytes"),
    }
    assert {name: (limits[name]["value"], limits[name]["unit"]) for name in fixed} == fixed
    assert set(limits) == fixed.keys() | Limits.model_fields.keys()
    assert shapes.Limits.model_validate(limits)["webhooks_office"].value == 10


async def test_a_message_may_come_in_any_clock_month(client: Client, ingest: Stage) -> None:
    clock = ingest.runtime.ports.clock
    assert isinstance(clock, ManualClock)
    clock.move(ORPHAN_AGE * 5)
    headers = ingest.token(SENDER)
    assert (await Client(client.http, headers).send({"recipient": RECIPIENT, "text": "a"})).status_code == 202
