"""What routing sets up again from its own events: its decisions."""

from collections.abc import Sequence

from services.routing.rules import ROUTED
from todoke.events import MessageRouted, MessageUndeliverable
from todoke.relay.postgres import Statements, Tx, queries
from todoke.relay.restore import Said, Unhealed

_sql: Statements = queries("services.routing")


async def restore(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    """The decision about each message: when it is heard again, nothing is said again."""
    decided = [
        (one.recorded_at, one.event) for one in said if isinstance(one.event, MessageRouted | MessageUndeliverable)
    ]
    if decided:
        await _sql.restore_decisions(
            tx.db,
            message_ids=[event.message_id for _, event in decided],
            senders=[event.sender for _, event in decided],
            recipients=[event.recipient for _, event in decided],
            verdicts=[event.reason if isinstance(event, MessageUndeliverable) else ROUTED for _, event in decided],
            times=[at for at, _ in decided],
        )
    return []
