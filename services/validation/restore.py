"""What validation sets up again from its own events: its judgements."""

from collections.abc import Sequence

from todoke.events import MessageAccepted, MessageRejected
from todoke.relay.postgres import Statements, Tx, queries
from todoke.relay.restore import Said, Unhealed

_sql: Statements = queries("services.validation")


async def restore(said: Sequence[Said], tx: Tx) -> list[Unhealed]:
    """The judgement of each message that was accepted or rejected: when it is heard again, nothing is said again."""
    verdicts = [
        (one.recorded_at, one.event) for one in said if isinstance(one.event, MessageAccepted | MessageRejected)
    ]
    if verdicts:
        await _sql.restore_judgements(
            tx.db,
            message_ids=[event.message_id for _, event in verdicts],
            senders=[event.sender for _, event in verdicts],
            verdicts=["accepted" if isinstance(event, MessageAccepted) else "rejected" for _, event in verdicts],
            errors=[event.counts.errors for _, event in verdicts],
            warnings=[event.counts.warnings for _, event in verdicts],
            times=[at for at, _ in verdicts],
        )
    return []
