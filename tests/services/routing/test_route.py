"""Routing: whether an accepted message may go to its recipient, judged once and as of its submission."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
import pytest

from todoke.events import (
    Actor,
    Counts,
    MessageAccepted,
    MessageRouted,
    MessageUndeliverable,
    OfficeChanged,
    OfficeFacts,
    Package,
)
from todoke.relay.faults import NotYet
from todoke.relay.testing import Stage, journalled

SENDER, RECIPIENT, UNKNOWN = "9970100018", "9970100117", "9970109999"
SYSTEM = Actor(kind="system", id="test")
LAST_DAY = date(2026, 3, 31)
LAST_SECOND = datetime(2026, 3, 31, 14, 59, 59, tzinfo=UTC)
"""24:00 in Japan is 15:00 in UTC."""


@pytest.fixture
async def routing(on_stage: Callable[[str], Awaitable[Stage]]) -> Stage:
    """The service on a real PostgreSQL, both offices licensed."""
    made = await on_stage("routing")
    await know(made, SENDER)
    await know(made, RECIPIENT)
    return made


async def know(routing: Stage, office: str, version: int = 1, **facts: Any) -> None:
    """Let the service hear of an office's state."""
    state = {"name": office, "participation": "active", "licence_until": date(2099, 12, 31), **facts}
    event = OfficeChanged(actor=SYSTEM, office=office, version=version, facts=OfficeFacts.model_validate(state))
    await routing.hear(event)


def accepted(routing: Stage, *, recipient: str = RECIPIENT, version: int = 1, at: datetime | None = None) -> Any:
    """An accepted message."""
    ports = routing.runtime.ports
    return MessageAccepted(
        actor=SYSTEM,
        message_id=ports.ids.uuid7(),
        sender=SENDER,
        recipient=recipient,
        sender_version=1,
        recipient_version=version,
        counts=Counts(warnings=2),
        package=Package(
            sequence="20250825121901",
            sender_name="居宅",
            recipient_name="訪問",
            submitted_at=at or ports.clock.now(),
            object_key="message/2026/03/x",
            epoch="2026-03",
            manifest="AA==",
        ),
    )


async def reasons(routing: Stage, *events: MessageAccepted) -> list[str | None]:
    """What became of them: None for routed, else the reason."""
    said = await routing.hear(*events)
    return [event.reason if isinstance(event, MessageUndeliverable) else None for event in said]


async def test_a_message_between_two_licensed_offices_is_routed_with_package_and_counts_unchanged(
    routing: Stage,
) -> None:
    message = accepted(routing)
    [said] = await routing.hear(message)
    assert isinstance(said, MessageRouted)
    assert (said.package, said.counts, said.key()) == (message.package, message.counts, RECIPIENT)


async def test_a_repeated_event_says_nothing_even_when_the_world_has_changed(routing: Stage) -> None:
    first, second = accepted(routing), accepted(routing)
    await routing.hear(first)
    await know(routing, RECIPIENT, 2, participation="suspended")
    assert await routing.hear(first) == []
    said = await routing.hear(first, second, first, second)
    assert [type(event) for event in said] == [MessageUndeliverable]
    async with routing.db.worker() as tx:
        assert [kind for kind, _ in await journalled(tx)] == ["MessageRouted", "MessageUndeliverable"]


async def test_the_order_of_the_log_is_kept(routing: Stage) -> None:
    messages = [accepted(routing) for _ in range(20)]
    shuffled = [messages[(7 * place) % 20] for place in range(20)]
    said = await routing.hear(*shuffled)
    assert [event.subject_id() for event in said] == [message.message_id for message in shuffled]


async def test_it_waits_until_its_directory_is_as_new_as_the_one_that_was_stamped(routing: Stage) -> None:
    message = accepted(routing, version=3)
    with pytest.raises(NotYet):
        await routing.hear(message)
    await know(routing, RECIPIENT, 2)
    with pytest.raises(NotYet):
        await routing.hear(accepted(routing), message)
    await know(routing, RECIPIENT, 3)
    assert await reasons(routing, message) == [None]
    with pytest.raises(NotYet):
        await routing.hear(accepted(routing, recipient=UNKNOWN))


async def test_a_recipient_that_does_not_take_part_gets_nothing(routing: Stage) -> None:
    states: list[dict[str, Any]] = [{"participation": "suspended"}, {"participation": "none", "licence_until": None}]
    for version, facts in enumerate(states, start=2):
        await know(routing, RECIPIENT, version, **facts)
        assert await reasons(routing, accepted(routing)) == ["TDK-OFFICE-NOT-TAKING-PART"]
    await know(routing, RECIPIENT, 9)
    assert await reasons(routing, accepted(routing)) == [None]


async def test_a_sender_that_was_suspended_meanwhile_sends_nothing(routing: Stage) -> None:
    await know(routing, SENDER, 2, participation="suspended")
    assert await reasons(routing, accepted(routing)) == ["TDK-SUSPENDED"]


@pytest.mark.parametrize("side", [SENDER, RECIPIENT])
async def test_the_licence_is_judged_at_the_submission_in_japan(routing: Stage, side: str) -> None:
    await know(routing, side, 2, licence_until=LAST_DAY)
    in_time = accepted(routing, at=LAST_SECOND)
    too_late = accepted(routing, at=datetime(2026, 3, 31, 15, 0, 0, tzinfo=UTC))
    refused = "TDK-NO-LICENCE" if side == SENDER else "TDK-OFFICE-NOT-TAKING-PART"
    assert await reasons(routing, in_time, too_late) == [None, refused]


async def test_an_office_that_the_directory_does_not_know_is_a_refusal_and_no_error(routing: Stage) -> None:
    assert await reasons(routing, accepted(routing, recipient=UNKNOWN, version=0)) == ["TDK-UNKNOWN-OFFICE"]


async def test_the_api_role_sees_only_its_own_verdicts_and_changes_none(routing: Stage) -> None:
    await routing.hear(accepted(routing))
    for office, seen in ((SENDER, 1), (RECIPIENT, 1), (UNKNOWN, 0), (None, 0)):
        async with routing.db.api(office) as tx:
            assert await tx.db.fetchval("SELECT count(*) FROM routed") == seen
    for change in ("UPDATE routed SET verdict = 'x'", "DELETE FROM routed", "INSERT INTO routed SELECT * FROM routed"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with routing.db.api(SENDER) as tx:
                await tx.db.execute(change)
