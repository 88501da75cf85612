"""The HTTP side of notification: who is told what, by mail and by webhook."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.notification import rules
from services.notification.addresses import Addresses
from services.notification.rules import Told
from todoke.relay.access import Access
from todoke.relay.clock import Ports
from todoke.relay.limits import MAIL_TARGETS_MAX, WEBHOOKS_MAX
from todoke.relay.openapi import request_header
from todoke.relay.policy import Caller
from todoke.relay.postgres import Database, Statements, Tx, queries
from todoke.relay.problem import Problem

REMINDER_DAYS_MAX = 60
"""A message expires after 90 days: a reminder later than this would come too late."""

Owner = Literal["own", "office"]
EventList = Annotated[list[Told], Field(min_length=1, max_length=20)]


class MailTarget(BaseModel):
    """A mail address and what it is told."""

    model_config = ConfigDict(extra="forbid")

    address: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=254)]
    events: EventList


class MailSettings(BaseModel):
    """Mail addresses, and after how many days of waiting to remind: null is the system's number, 0 is never."""

    model_config = ConfigDict(extra="forbid")

    mail: Annotated[list[MailTarget], Field(max_length=MAIL_TARGETS_MAX)]
    reminder_days: Annotated[int, Field(ge=0, le=REMINDER_DAYS_MAX)] | None = None


class WebhookWanted(BaseModel):
    """A webhook to be made."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, StringConstraints(min_length=1, max_length=rules.URL_CHARACTERS_MAX)]
    events: EventList


class WebhookMade(BaseModel):
    """Its id, and the secret that signs its calls: shown this once."""

    id: UUID
    secret: str


class Result(BaseModel):
    """How one call ended: `final` says that this event is not tried again."""

    at: datetime
    event: str
    ok: bool
    status: int | None
    error: str | None
    final: bool


class Webhook(BaseModel):
    """A webhook with its last ten results, newest first."""

    id: UUID
    url: str
    events: list[str]
    results: list[Result]


class Webhooks(BaseModel):
    """All webhooks of the office."""

    items: list[Webhook]


class CallData(BaseModel):
    """Which message; null in a test."""

    office: str = Field(description="the office that is told")
    message_id: UUID | None
    delivery_no: int | None


class WebhookCall(BaseModel):
    """What is posted to a webhook: ids and numbers only."""

    type: str = Field(json_schema_extra={"enum": [f"message.{told}" for told in (*get_args(Told), rules.TEST)]})
    timestamp: datetime = Field(description="when it happened")
    data: CallData


class Tested(BaseModel):
    """How many tests were queued; how they end shows in the mailbox and in the webhooks' results."""

    mail: int
    webhooks: int


class Settings:
    """Reads and writes settings as the API's role: row-level security keeps every office to itself."""

    def __init__(self, database: Database, addresses: Addresses, ports: Ports, *, private: bool, mails: bool) -> None:
        self._database = database
        self._addresses = addresses
        self._ports = ports
        self._private = private
        self._mails = mails
        self._sql: Statements = queries("services.notification")

    async def mail(self, caller: Caller, owner: Owner) -> MailSettings:
        """The settings of the person, or of the office."""
        async with self._database.api(caller.office) as tx:
            return await self._read(tx, caller.office, _user(caller, owner))

    async def set_mail(self, caller: Caller, owner: Owner, wanted: MailSettings) -> MailSettings:
        """Replace them. Raises `Problem` TDK-MAIL-ADDRESS, also for one that stands twice."""
        office, user = caller.office, _user(caller, owner)
        prints = [self._addresses.fingerprint(target.address, office, user) for target in wanted.mail]
        _refuse_unfit(wanted.mail, prints)
        async with self._database.api(office) as tx:
            await self._sql.lock_owner(tx.db, office=office, user_id=user)
            await self._sql.drop_other_mail_targets(tx.db, office=office, user_id=user, kept=prints)
            for target, fingerprint in zip(wanted.mail, prints, strict=True):
                target_id = self._ports.ids.uuid7()
                await self._sql.keep_mail_target(
                    tx.db,
                    id=target_id,
                    office=office,
                    user_id=user,
                    address_sealed=self._addresses.seal(target.address, office, target_id, "address"),
                    address_hmac=fingerprint,
                    events=list(dict.fromkeys(target.events)),
                    now=tx.now,
                )
            if wanted.reminder_days is None:
                await self._sql.drop_days(tx.db, office=office, user_id=user)
            else:
                await self._sql.choose_days(tx.db, office=office, user_id=user, days=wanted.reminder_days)
            return await self._read(tx, office, user)

    async def add_webhook(self, caller: Caller, wanted: WebhookWanted) -> WebhookMade:
        """Make a webhook. Raises `Problem` TDK-WEBHOOK-URL, TDK-WEBHOOK-TWICE, TDK-WEBHOOKS-TOO-MANY."""
        office = caller.office
        if not rules.fit_url(wanted.url, private=self._private):
            raise Problem("TDK-WEBHOOK-URL", where=[("url", "https")])
        made = WebhookMade(
            id=self._ports.ids.uuid7(), secret=rules.new_secret(self._ports.ids.secret(rules.SECRET_BYTES))
        )
        async with self._database.api(office) as tx:
            await self._sql.lock_owner(tx.db, office=office, user_id="")
            if await self._sql.webhook_count(tx.db, office=office) >= WEBHOOKS_MAX:
                raise Problem("TDK-WEBHOOKS-TOO-MANY", webhooks=WEBHOOKS_MAX)
            added = await self._sql.add_webhook(
                tx.db,
                id=made.id,
                office=office,
                address_sealed=self._addresses.seal(wanted.url, office, made.id, "address"),
                address_hmac=self._addresses.fingerprint(wanted.url, office, ""),
                secret_sealed=self._addresses.seal(made.secret, office, made.id, "secret"),
                events=list(dict.fromkeys(wanted.events)),
                now=tx.now,
            )
            if added is None:
                raise Problem("TDK-WEBHOOK-TWICE")
        return made

    async def webhooks(self, caller: Caller) -> list[Webhook]:
        """All of them."""
        async with self._database.api(caller.office) as tx:
            return await self._shown(tx, await self._sql.webhooks(tx.db, office=caller.office))

    async def webhook(self, caller: Caller, webhook_id: UUID) -> Webhook:
        """One of them. Raises `Problem` TDK-NOT-FOUND."""
        async with self._database.api(caller.office) as tx:
            row = await self._sql.webhook(tx.db, office=caller.office, id=webhook_id)
            if row is None:
                raise Problem("TDK-NOT-FOUND")
            return (await self._shown(tx, [row]))[0]

    async def remove_webhook(self, caller: Caller, webhook_id: UUID) -> None:
        """End it with all that waits for it. Raises `Problem` TDK-NOT-FOUND."""
        async with self._database.api(caller.office) as tx:
            if await self._sql.remove_webhook(tx.db, office=caller.office, id=webhook_id) is None:
                raise Problem("TDK-NOT-FOUND")

    async def test(self, caller: Caller, *, manages: bool) -> Tested:
        """Queue a test for one's own addresses and, for an administrator, for the office's and its webhooks."""
        owners = [caller.user_id or "", ""] if manages else [caller.user_id or ""]
        async with self._database.api(caller.office) as tx:
            rows = await self._sql.queue_test(
                tx.db,
                event_id=self._ports.ids.uuid7(),
                office=caller.office,
                owners=owners,
                webhooks=manages,
                mails=self._mails,
                now=tx.now,
            )
        kinds = [row["kind"] for row in rows]
        return Tested(mail=kinds.count("mail"), webhooks=kinds.count("webhook"))

    async def _read(self, tx: Tx, office: str, user: str) -> MailSettings:
        rows = await self._sql.mail_targets(tx.db, office=office, user_id=user)
        days = await self._sql.chosen_days(tx.db, office=office, user_id=user)
        return MailSettings(
            mail=[MailTarget(address=self._address(row), events=row["events"]) for row in rows], reminder_days=days
        )

    async def _shown(self, tx: Tx, rows: Sequence[Any]) -> list[Webhook]:
        results: dict[UUID, list[Result]] = defaultdict(list)
        for tried in await self._sql.attempts(tx.db, target_ids=[row["id"] for row in rows]):
            results[tried["target_id"]].append(Result.model_validate(dict(tried)))
        return [
            Webhook(id=row["id"], url=self._address(row), events=row["events"], results=results[row["id"]])
            for row in rows
        ]

    def _address(self, row: Any) -> str:
        return self._addresses.unseal(row["address_sealed"], row["office"], row["id"], "address")


def _user(caller: Caller, owner: Owner) -> str:
    return (caller.user_id or "") if owner == "own" else ""


def _refuse_unfit(targets: Sequence[MailTarget], prints: Sequence[bytes]) -> None:
    unfit = [n for n, target in enumerate(targets) if not rules.fit_mail_address(target.address)]
    unfit += [n for n, fingerprint in enumerate(prints) if fingerprint in prints[:n]]
    if unfit:
        raise Problem("TDK-MAIL-ADDRESS", where=[(f"mail.{n}.address", "mail") for n in sorted(set(unfit))])


def router(access: Access, settings: Settings) -> APIRouter:
    """The routes under `/v1/notifications`."""
    routes = APIRouter(prefix="/v1/notifications", tags=["notifications"])

    async def managing(caller: Annotated[Caller, Depends(access.caller)]) -> Caller:
        access.require(caller, "manage")
        return caller

    async def owning(owner: Owner, caller: Annotated[Caller, Depends(access.caller)]) -> Caller:
        if owner == "office":
            access.require(caller, "manage")
        return caller

    _add_webhooks(routes, settings, Annotated[Caller, Depends(managing)])
    Own = Annotated[Caller, Depends(owning)]  # noqa: N806 (a type)

    @routes.post("/test", status_code=202, summary="Send a test to one's addresses and webhooks")
    async def post_test(caller: Annotated[Caller, Depends(access.caller)]) -> Tested:
        return await settings.test(caller, manages="admin" in caller.roles)

    @routes.get("/{owner}", summary="One's own settings, or the office's")
    async def get_settings(owner: Owner, caller: Own) -> MailSettings:
        return await settings.mail(caller, owner)

    @routes.put("/{owner}", summary="Replace them")
    async def put_settings(owner: Owner, wanted: MailSettings, caller: Own) -> MailSettings:
        return await settings.set_mail(caller, owner, wanted)

    return routes


_CALL: dict[str, Any] = {
    "summary": "What a webhook is called with",
    "description": "Standard Webhooks. Every 2xx within 15 s is taken, 410 ends the tries of this event; all else is "
    "tried again for about three days. The same `webhook-id` may come twice.",
    "parameters": [
        request_header("webhook-id", "The same for every try of this event", required=True),
        request_header("webhook-timestamp", "Seconds since 1970 of this try", required=True, pattern="^[0-9]+$"),
        request_header(
            "webhook-signature",
            "`v1,` and in base64 the HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`; its key is what follows "
            "`whsec_` in the secret, out of base64",
            required=True,
            pattern="^v1,[A-Za-z0-9+/]{43}=$",
        ),
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "$ref": "#/components/schemas/WebhookCall",
                    "$defs": {
                        "WebhookCall": WebhookCall.model_json_schema(ref_template="#/components/schemas/{model}")
                    },
                }
            }
        },
    },
    "responses": {"2XX": {"description": "Taken"}},
}
"""What OpenAPI says of a call; a house test holds it against one."""


def _add_webhooks(routes: APIRouter, settings: Settings, managing: Any) -> None:
    @routes.post(
        "/webhooks",
        status_code=201,
        openapi_extra={"callbacks": {"told": {"{$request.body#/url}": {"post": _CALL}}}},
        summary="Make a webhook; its secret is shown once",
    )
    async def post_webhook(wanted: WebhookWanted, caller: managing) -> WebhookMade:
        return await settings.add_webhook(caller, wanted)

    @routes.get("/webhooks", summary="The office's webhooks")
    async def get_webhooks(caller: managing) -> Webhooks:
        return Webhooks(items=await settings.webhooks(caller))

    @routes.get("/webhooks/{webhook_id}", summary="One webhook with its last results")
    async def get_webhook(webhook_id: UUID, caller: managing) -> Webhook:
        return await settings.webhook(caller, webhook_id)

    @routes.delete("/webhooks/{webhook_id}", status_code=204, summary="End a webhook")
    async def delete_webhook(webhook_id: UUID, caller: managing) -> Response:
        await settings.remove_webhook(caller, webhook_id)
        return Response(status_code=204)
