"""Forms that came after their session had ended: kept until the one who wrote them has logged in again (S-00.8)."""

import json
from datetime import timedelta
from uuid import UUID

from services.portal.forms import CSRF_FIELD, Form
from services.portal.websessions import Owner
from todoke.relay.clock import Ids
from todoke.relay.postgres import Database, queries
from todoke.relay.rootsecret import Secrets
from todoke.relay.seal import OfficeBinding, Sealer

KEPT = timedelta(days=1)
"""Whoever is thrown out in the evening comes back in the morning."""

KEPT_OF_OWNER = 20
"""Forms of one owner: more than there are windows open."""

BYTES_MAX = 128 * 1024
"""Of one form: the longest notice has 10,000 characters."""

_store = queries("services.portal")


class LateForms:
    """What was typed, sealed, for the same person at the same office (or the office itself, or the operator)."""

    def __init__(self, db: Database, sealer: Sealer, secrets: Secrets, ids: Ids) -> None:
        self._db = db
        self._sealer = sealer
        self._key = secrets.hmac_key("portal/late-form")
        self._ids = ids

    async def keep(self, owner: Owner, form: Form) -> UUID | None:
        """Keep the fields of a form; answers its id, None for more than a person types. Raises `DatabaseAway`."""
        fields = [(name, value) for name in form if name != CSRF_FIELD for value in form.all(name)]
        plain = json.dumps(fields, ensure_ascii=False).encode()
        if len(plain) > BYTES_MAX:
            return None
        late = self._ids.uuid7()
        sealed = self._sealer.seal(plain, month_key=self._key, binding=_bound(owner, late), label=_label(owner))
        async with self._db.worker() as tx:
            whose = {"kind": owner.kind, "office": owner.office, "user_id": owner.user_id}
            await _store.keep_late_form(tx.db, id=late, sealed=sealed, now=tx.now, **whose)
            await _store.forget_older_late_forms(tx.db, kept=KEPT_OF_OWNER, **whose)
        return late

    async def of(self, owner: Owner, late: UUID | None) -> Form | None:
        """A form of this owner; None for anybody else's, and after a day. Raises `DatabaseAway`."""
        if late is None:
            return None
        async with self._db.worker() as tx:
            sealed = await _store.late_form(
                tx.db, id=late, kind=owner.kind, office=owner.office, user_id=owner.user_id, since=tx.now - KEPT
            )
        if sealed is None:
            return None
        plain = self._sealer.unseal(sealed, month_key=self._key, binding=_bound(owner, late), label=_label(owner))
        return Form([(name, value) for name, value in json.loads(plain)])

    async def sweep(self) -> None:
        """Forget what nobody came back for. Raises `DatabaseAway`."""
        async with self._db.worker() as tx:
            await _store.forget_late_forms(tx.db, before=tx.now - KEPT)


def _bound(owner: Owner, late: UUID) -> OfficeBinding:
    return OfficeBinding(owner.office, late, "late")


def _label(owner: Owner) -> str:
    return f"{owner.kind}:{owner.user_id}"
