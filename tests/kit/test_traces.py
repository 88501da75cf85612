"""W3C Trace Context through the kit: from the record that was heard to what is said of it, and what is parked."""

import pytest
import structlog

from tests.kit.test_steps import FIRST, assigned, line
from tests.kit.topology import SYSTEM, Count, Topology, poison, undeliverable
from todoke.events import MessageHeld

pytestmark = [pytest.mark.long]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_what_a_clock_causes_carries_the_trace_of_what_was_said_before(topology: Topology) -> None:
    first = undeliverable(topology.ports, 1)
    subject = first.subject_id()
    async with topology.sayer.worker({subject: TRACE}) as tx:
        tx.say(first)
    later = MessageHeld(
        actor=SYSTEM,
        message_id=subject,
        sender=first.sender,
        recipient=first.recipient,
        cause="parked",
        held_at=topology.ports.clock.now(),
        nth=1,
    )
    stranger = undeliverable(topology.ports, 3)
    async with topology.sayer.worker() as tx:
        tx.say(later, stranger)
    async with topology.sayer.worker() as tx:
        rows = await tx.db.fetch("SELECT message_id, traceparent FROM journal ORDER BY seq")
    assert [row["traceparent"] for row in rows if row["message_id"] == subject] == [TRACE, TRACE]
    assert [row["traceparent"] for row in rows if row["message_id"] != subject] == [None]


async def test_the_line_about_a_parked_record_names_its_trace(topology: Topology) -> None:
    handler = Count()
    handler.fails = poison
    discipline, _ = await assigned(topology, handler)
    record = line(undeliverable(topology.ports, 1), 0)
    record.headers = [*record.headers, ("traceparent", TRACE.encode())]
    with structlog.testing.capture_logs() as lines:
        await discipline.poll({FIRST: [record]})
    assert [line["trace"] for line in lines if line["event"] == "parked"] == [TRACE[3:35]]
