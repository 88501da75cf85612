"""What the portal keeps for people besides sessions: searches, an office's notes about messages, likings."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from services.portal.visitors import Visitor
from todoke.relay.clock import Ids
from todoke.relay.postgres import Database, queries
from todoke.relay.rootsecret import Secrets
from todoke.relay.seal import OfficeBinding, Sealer

SEARCHES_KEPT = 100
"""Of one session: enough for the back button."""

ROW_HEIGHT = "row-height"

_store = queries("services.portal")


class Searches:
    """What is searched for, under random ids, for as long as the session."""

    def __init__(self, db: Database, sealer: Sealer, secrets: Secrets, ids: Ids) -> None:
        self._db = db
        self._sealer = sealer
        self._key = secrets.hmac_key("portal/search")
        self._ids = ids

    async def keep(self, visitor: Visitor, text: str) -> str:
        """Keep a text; answers its id. Raises `DatabaseAway`."""
        search_id = self._ids.uuid7()
        sealed = self._sealer.seal(
            text.encode(), month_key=self._key, binding=_bound(visitor.office, search_id), label="search"
        )
        async with self._db.worker() as tx:
            await _store.keep_search(
                tx.db,
                id=search_id,
                session=visitor.web.id,
                office=visitor.office,
                sealed=sealed,
                now=tx.now,
            )
            await _store.forget_old_searches(tx.db, session=visitor.web.id, kept=SEARCHES_KEPT)
        return str(search_id)

    async def text(self, visitor: Visitor, search_id: str) -> str:
        """The text of an id of this session; empty for any other id. Raises `DatabaseAway`."""
        if not search_id:
            return ""
        found = UUID(search_id)
        async with self._db.api(visitor.office) as tx:
            sealed = await _store.search_of_id(tx.db, id=found, session=visitor.web.id)
        if sealed is None:
            return ""
        bound = _bound(visitor.office, found)
        return self._sealer.unseal(sealed, month_key=self._key, binding=bound, label="search").decode()


class Memo(BaseModel):
    """An office's note about a message: 社内メモ, 担当, and the name of the one who wrote it last."""

    model_config = ConfigDict(frozen=True)

    text: str = ""
    assignee: str = ""
    writer: str = ""


@dataclass(frozen=True, slots=True)
class KeptMemo:
    """A note as it was found; `version` is 0 while there is none."""

    memo: Memo
    version: int
    written_at: datetime | None


class Memos:
    """Notes about messages. Row-level security keeps them from every other office."""

    def __init__(self, db: Database, sealer: Sealer, secrets: Secrets) -> None:
        self._db = db
        self._sealer = sealer
        self._key = secrets.hmac_key("portal/memo")

    async def of(self, office: str, message_id: UUID) -> KeptMemo:
        """What the office noted. Raises `DatabaseAway`."""
        async with self._db.api(office) as tx:
            row = await _store.memo_of(tx.db, office=office, message_id=message_id)
        if row is None:
            return KeptMemo(Memo(), 0, None)
        plain = self._sealer.unseal(
            row["sealed"], month_key=self._key, binding=_bound(office, message_id), label="memo"
        )
        return KeptMemo(Memo.model_validate_json(plain), row["version"], row["written_at"])

    async def write(self, office: str, message_id: UUID, memo: Memo, version: int) -> bool:
        """Keep a note, unless somebody kept another one since `version`. Raises `DatabaseAway`."""
        sealed = self._sealer.seal(
            memo.model_dump_json().encode(),
            month_key=self._key,
            binding=_bound(office, message_id),
            label="memo",
        )
        async with self._db.worker() as tx:
            kept = await _store.write_memo(
                tx.db, office=office, message_id=message_id, sealed=sealed, version=version, now=tx.now
            )
        return kept is not None


class Likings:
    """How a person likes the screens."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def narrow_rows(self, visitor: Visitor) -> bool:
        """Whether this person likes narrow rows (せまい). Raises `DatabaseAway`."""
        async with self._db.api(visitor.office) as tx:
            value = await _store.preference_of(tx.db, office=visitor.office, user_id=visitor.user_id, name=ROW_HEIGHT)
        return bool(value == "narrow")

    async def prefer_rows(self, visitor: Visitor, *, narrow: bool) -> None:
        """Note the liking. Raises `DatabaseAway`."""
        async with self._db.worker() as tx:
            await _store.prefer(
                tx.db,
                office=visitor.office,
                user_id=visitor.user_id,
                name=ROW_HEIGHT,
                value="narrow" if narrow else "normal",
            )


def _bound(office: str, item: UUID) -> OfficeBinding:
    return OfficeBinding(office, item, "portal")
