"""What requests do to the rows of a message: find it, note who gets content, receive it, take it back."""

import contextlib
import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.storage import rules
from services.storage.contents import Holding
from todoke.events import Actor, ContentOpened, Downloaded, Package, Recalled, RecallRequested
from todoke.relay.clock import Ports, time_of
from todoke.relay.policy import Caller
from todoke.relay.postgres import Database, Statements, Tx, queries
from todoke.relay.problem import Problem

YOUNG = timedelta(minutes=1)
"""A message younger than this may not have been heard yet: its 202 is older than storage's knowledge of it."""

LOOK_AGAIN_SECONDS = 0.05
"""Between two looks for a young message; the way through the services takes about as long."""

FOUND_SECONDS_MAX = 5.0
"""A message that was found is not looked up again for so long: its files and its receipt are asked for in a row."""

FOUND_MAX = 1000
"""So many found messages are remembered, a few kilobytes each."""

REFUSED = "refused/"
"""Begins the entry of the access log for what was asked for and not given."""

_UUID_VERSION = 7


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """A message is 済: when, and its receipt, sealed."""

    downloaded_at: datetime
    receipt_sealed: str


@dataclasses.dataclass(frozen=True, slots=True)
class TakenBack:
    """A recall: done, or (`requested`) to be done on arrival; `opened_at` says whether content had been seen."""

    requested: bool
    opened_at: datetime | None


class Mailbox:
    """The rows of messages under row-level security: an office meets only its own, a recipient only what arrived."""

    def __init__(self, database: Database, ports: Ports, *, wait_seconds_max: float) -> None:
        self._database = database
        self._ports = ports
        self._wait_seconds_max = wait_seconds_max
        self._sql: Statements = queries("services.storage")
        self._found: OrderedDict[tuple[str, UUID], tuple[float, Holding]] = OrderedDict()

    async def known(self, caller: Caller, message_id: str) -> Holding:
        """As `find`, but as the message was up to five seconds ago.

        Whose it is does not change, and who may see it once may see it always. What does change is judged again under
        the delivery's lock by `note_access` and `receive`, without which no byte and no receipt goes out.
        """
        key = _uuid7(message_id)
        now = self._ports.clock.monotonic()
        at, holding = self._found.get((caller.office, key), (0.0, None))
        if holding is not None and now - at <= FOUND_SECONDS_MAX:
            return holding
        holding = await self.find(caller, message_id)
        self._found[caller.office, key] = (now, holding)
        self._found.move_to_end((caller.office, key))
        if len(self._found) > FOUND_MAX:
            self._found.popitem(last=False)
        return holding

    async def find(self, caller: Caller, message_id: str) -> Holding:
        """The message; one that is younger than a minute is waited for.

        Raises `Problem` TDK-NO-MESSAGE when there is none for this office: in the same words after the same work,
        whether it is somebody else's, not delivered yet, or does not exist.
        """
        key = _uuid7(message_id)
        clock = self._ports.clock
        until = clock.monotonic() + self._wait_seconds_max
        while True:
            holding = await self.look(caller, key)
            if holding is not None:
                return holding
            if abs(clock.now() - time_of(key)) > YOUNG or clock.monotonic() >= until:
                raise Problem("TDK-NO-MESSAGE")
            await clock.sleep(LOOK_AGAIN_SECONDS)

    async def look(self, caller: Caller, message_id: UUID) -> Holding | None:
        """The message as it stands now, None when there is none for this office."""
        async with self._database.api(caller.office) as tx:
            row = await self._sql.find_message(tx.db, message_id=message_id)
        return None if row is None else _holding(row)

    async def note_access(self, caller: Caller, holding: Holding, what: str) -> None:
        """Commit, before the first byte goes, that this office gets content and, once, that the recipient opened it.

        Raises `Problem` TDK-RECALLED, TDK-EXPIRED or TDK-ERASED when it ended in the meantime.
        """
        self._ports.crash.reach("storage.fetch.before-log")
        async with self._database.api(caller.office) as tx:
            access = self._access(caller, holding, what, tx.now)
            if caller.office == holding.sender:
                end = await self._sql.end_of(tx.db, message_id=holding.message_id)
                refuse_if_gone(sender=True, status=None, recalled_at=None, erased=bool(end and end["erased"]))
                await self._sql.log_access(tx.db, **access)
            else:
                await self._note_recipient(tx, caller, holding, access)
        self._ports.crash.reach("storage.fetch.after-log")

    async def note_refusal(self, caller: Caller, message_id: str, number: str | None) -> None:
        """Write down that somebody of this office asked for a file, or for all (None), without the right to it.

        Of what is not there for the office nothing is written.
        """
        with contextlib.suppress(Problem):
            holding = await self.look(caller, _uuid7(message_id))
            if holding is not None:
                what = "zip" if number is None else f"files/{holding.part(number).ordinal}"
                async with self._database.api(caller.office) as tx:
                    await self._sql.log_access(tx.db, **self._access(caller, holding, REFUSED + what, tx.now))

    def _access(self, caller: Caller, holding: Holding, what: str, at: datetime) -> dict[str, Any]:
        """A row of the access log."""
        return {
            "message_id": holding.message_id,
            "access_id": self._ports.ids.uuid7(),
            "sender": holding.sender,
            "recipient": holding.recipient,
            "office": caller.office,
            "user_id": caller.user_id,
            "what": what,
            "at": at,
        }

    async def _note_recipient(self, tx: Tx, caller: Caller, holding: Holding, access: dict[str, Any]) -> None:
        delivery = await self._sql.lock_content(tx.db, message_id=holding.message_id)
        refuse_if_gone(
            sender=False,
            status=delivery["status"],
            recalled_at=delivery["recalled_at"],
            erased=delivery["erased"],
        )
        if delivery["opened_at"] is not None:
            await self._sql.log_access(tx.db, **access)
            return
        if delivery["status"] != "delivered":  # it has ended; was it erased while this waited for the lock?
            end = await self._sql.end_of(tx.db, message_id=holding.message_id)
            refuse_if_gone(sender=False, status=None, recalled_at=None, erased=bool(end and end["erased"]))
        at = max(tx.now, delivery["delivered_at"])
        await self._sql.log_first_access(tx.db, **access, opened_at=at)
        tx.say(ContentOpened(**_about(caller, holding), opened_at=at))

    async def receive(
        self, caller: Caller, holding: Holding, *, hashes_match: bool, sign: Callable[[datetime], str]
    ) -> Received:
        """Turn the message 済, once; `sign` makes the sealed receipt of a moment.

        Under the delivery's lock: of a recall and a receipt one comes first, and two receipts are one.
        Raises `Problem` TDK-NOT-RECEIVABLE, TDK-HASH-MISMATCH.
        """
        self._ports.crash.reach("storage.receipt.before")
        async with self._database.api(caller.office) as tx:
            delivery = await self._sql.lock_content(tx.db, message_id=holding.message_id)
            outcome = rules.receipt_outcome(delivery["status"], erased=delivery["erased"], hashes_match=hashes_match)
            if outcome == "again":
                received = Received(delivery["downloaded_at"], delivery["receipt_sealed"])
            elif outcome == "now":
                received = await self._download(tx, caller, holding, delivery, sign)
            else:
                raise Problem(outcome)
        self._ports.crash.reach("storage.receipt.after")
        return received

    async def take_back(self, caller: Caller, holding: Holding, reason_sealed: str) -> TakenBack:
        """Recall the message, now or on its arrival. The message's lock keeps it from arriving meanwhile.

        Raises `Problem` TDK-ALREADY-DOWNLOADED, TDK-NOT-RECALLABLE.
        """
        self._ports.crash.reach("storage.recall.before")
        async with self._database.api(caller.office) as tx:
            message = await self._sql.lock_message(tx.db, message_id=holding.message_id)
            delivery = await self._sql.lock_delivery(tx.db, message_id=holding.message_id)
            end = await self._sql.end_of(tx.db, message_id=holding.message_id)
            outcome = rules.recall_outcome(delivery and delivery["status"], end and end["cause"])
            if outcome == "again":
                taken = TakenBack(requested=False, opened_at=delivery["opened_at"])
            elif outcome == "now":
                taken = await self._recall(tx, caller, holding, delivery, reason_sealed)
            elif outcome == "requested":
                taken = TakenBack(requested=True, opened_at=None)
                if message["recall_requested_at"] is None:
                    await self._request_recall(tx, caller, holding, reason_sealed)
            elif delivery is not None and delivery["downloaded_at"] is not None:
                raise Problem(outcome, time=rules.shown_time(delivery["downloaded_at"]))
            else:
                raise Problem(outcome)
        self._ports.crash.reach("storage.recall.after")
        return taken

    async def accesses(self, caller: Caller, holding: Holding) -> list[Any]:
        """Rows `office`, `user_id`, `what`, `at` of every fetch, the oldest first."""
        async with self._database.api(caller.office) as tx:
            return list(await self._sql.accesses(tx.db, message_id=holding.message_id))

    async def _download(
        self,
        tx: Tx,
        caller: Caller,
        holding: Holding,
        delivery: Any,
        sign: Callable[[datetime], str],
    ) -> Received:
        at = max(tx.now, delivery["opened_at"] or delivery["delivered_at"])
        receipt_sealed = sign(at)
        await self._sql.download(tx.db, message_id=holding.message_id, at=at, receipt_sealed=receipt_sealed)
        await self._end(tx, holding, "downloaded", at)
        tx.say(
            Downloaded(
                **_about(caller, holding),
                delivery_no=delivery["delivery_no"],
                downloaded_at=at,
                receipt_sealed=receipt_sealed,
            )
        )
        return Received(at, receipt_sealed)

    async def _recall(
        self,
        tx: Tx,
        caller: Caller,
        holding: Holding,
        delivery: Any,
        reason_sealed: str,
    ) -> TakenBack:
        at = max(tx.now, delivery["opened_at"] or delivery["delivered_at"])
        await self._sql.recall(tx.db, message_id=holding.message_id, at=at)
        await self._end(tx, holding, "recalled", at)
        tx.say(
            Recalled(
                **_about(caller, holding),
                delivery_no=delivery["delivery_no"],
                recalled_at=at,
                opened_at=delivery["opened_at"],
                reason_sealed=reason_sealed,
            )
        )
        return TakenBack(requested=False, opened_at=delivery["opened_at"])

    async def _request_recall(self, tx: Tx, caller: Caller, holding: Holding, reason_sealed: str) -> None:
        await self._sql.request_recall(tx.db, message_id=holding.message_id, at=tx.now, reason_sealed=reason_sealed)
        tx.say(RecallRequested(**_about(caller, holding), requested_at=tx.now, reason_sealed=reason_sealed))

    async def _end(self, tx: Tx, holding: Holding, cause: str, at: datetime) -> None:
        await self._sql.end_messages(
            tx.db,
            message_ids=[holding.message_id],
            senders=[holding.sender],
            recipients=[holding.recipient],
            causes=[cause],
            times=[at],
        )


def refuse_if_gone(*, sender: bool, status: str | None, recalled_at: datetime | None, erased: bool) -> None:
    """Raise the `Problem` (410) that says why content is not handed out any more, if so."""
    code = rules.gone(sender=sender, status=status, erased=erased)
    if code is None:
        return
    if recalled_at is not None:
        raise Problem(code, time=rules.shown_time(recalled_at))
    raise Problem(code)


def _uuid7(text: str) -> UUID:
    """The id in a URL; anything else is no message of anybody. Raises `Problem` TDK-NO-MESSAGE."""
    try:
        key = UUID(text)
    except ValueError:
        raise Problem("TDK-NO-MESSAGE") from None
    if key.version != _UUID_VERSION or str(key) != text.lower():
        raise Problem("TDK-NO-MESSAGE")
    return key


def _holding(row: Any) -> Holding:
    return Holding(
        message_id=row["message_id"],
        sender=row["sender"],
        recipient=row["recipient"],
        object_key=row["object_key"],
        package=Package.model_validate_json(row["package"]),
        status=row["status"],
        recalled_at=row["recalled_at"],
        erased=bool(row["erased"]),
    )


def _about(caller: Caller, holding: Holding) -> dict[str, Any]:
    actor = Actor(kind="person", id=caller.user_id) if caller.user_id else Actor(kind="office", id=caller.office)
    return {
        "actor": actor,
        "message_id": holding.message_id,
        "sender": holding.sender,
        "recipient": holding.recipient,
    }
