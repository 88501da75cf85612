"""`todoke ops parked`: what services hold, and what an operator decides about it."""

import time
from collections.abc import Iterator
from http import HTTPStatus

import click

from todoke.client.core import segment
from todoke.client.desk import Exit, Stopped
from todoke.client.errors import ApiError
from todoke.client.ops_desk import EXIT_CODES, SERVICES, OpsDesk, Word, at_ops_desk, changing, moment
from todoke.client.ops_shapes import Decided, Hold, HoldDetail, Paged

PAGE = 200
ALL = "all"

WAITING = ("retry", "discard")
OVER = ("released", "discarded")

HEARERS_FIRST = ("projection", "notification", "ingest", "registry", "storage", "routing", "validation")
"""Who hears what another says of a message that is given up must not hold it any more by then: it would be parked."""

CARRIED_OUT_SECONDS_MAX = 30.0
"""A service looks for operators' words every two seconds."""

LOOK_AGAIN_SECONDS = 0.3

SERVICE = click.option(
    "--service", type=click.Choice([*sorted(SERVICES), ALL]), default=ALL, show_default=True, help="which service"
)
CHOSEN = click.option(
    "--service", type=click.Choice([*sorted(SERVICES), ALL]), required=True, help="which service, or all that hold it"
)


@click.group("parked")
def parked() -> None:
    """Messages (and offices) whose record could not be handled: held until somebody decides."""


@parked.command("list", epilog=EXIT_CODES)
@SERVICE
@at_ops_desk
def list_parked(desk: OpsDesk, service: str) -> None:
    """What is held now, and by which services, the oldest first."""
    found, missing = desk.everywhere(lambda name: list(_holds(desk, name)), _services(service))
    holds = sorted((hold for some in found for hold in some), key=lambda hold: hold.held_at)
    by_subject: dict[str, list[Hold]] = {}
    for hold in holds:
        by_subject.setdefault(hold.subject, []).append(hold)
    desk.table(
        ("subject ID", "since (Japan)", "held by", "records", "error"),
        [
            (
                subject,
                moment(some[0].held_at),
                "\n".join(f"{each.service} ({each.state})" for each in some),
                "\n".join(str(each.records) for each in some),
                "\n".join(each.error for each in some),
            )
            for subject, some in by_subject.items()
        ],
    )
    if not holds:
        desk.say("nothing is held")
    desk.document({"items": holds, "not_reached": missing})
    desk.end(missing)


@parked.command("show", epilog=EXIT_CODES)
@click.argument("subject")
@SERVICE
@at_ops_desk
def show_parked(desk: OpsDesk, subject: str, service: str) -> None:
    """A held message in each service that knows it: where its records stand, never what is in them."""
    found = _details(desk, subject, service)
    for hold in found:
        by = "" if hold.decided_by is None else f", decided by {hold.decided_by} {moment(hold.decided_at)}"
        title = f"{hold.service}: {hold.state}, since {moment(hold.held_at)}, {hold.attempts} tries{by}"
        desk.table(
            ("topic", "partition", "offset", "type", "bytes", "parked (Japan)", "error", "event ID"),
            [
                (
                    record.topic,
                    str(record.partition),
                    str(record.offset),
                    record.type or "?",
                    str(record.bytes),
                    moment(record.parked_at),
                    record.error,
                    record.event_id or "?",
                )
                for record in hold.parked
            ],
            title=title,
        )
    desk.document({"items": found})


@parked.command("retry", epilog=EXIT_CODES)
@click.argument("subject")
@CHOSEN
@at_ops_desk
@changing
def retry(desk: OpsDesk, word: Word, subject: str, service: str) -> None:
    """Let services handle the records again, once the cause is gone; what fails again is held again."""
    _decide(desk, subject, service, "retry", word)


@parked.command("discard", epilog=EXIT_CODES)
@click.argument("subject")
@CHOSEN
@at_ops_desk
@changing
def discard(desk: OpsDesk, word: Word, subject: str, service: str) -> None:
    """Give the records up. Not to be taken back: the sender reads that the message was not delivered."""
    _decide(desk, subject, service, "discard", word)


def _decide(desk: OpsDesk, subject: str, service: str, act: str, word: Word) -> None:
    """Give the word to one service after the other, and wait until each has carried it out."""
    holding = [hold.service for hold in _details(desk, subject, service) if hold.state == "held"]
    if not holding:
        raise Stopped(Exit.REFUSED, "it is decided about already, or not held any more")
    ended: list[HoldDetail] = []
    for name in sorted(holding, key=HEARERS_FIRST.index):
        desk.post(Decided, f"{_path(name, subject)}/{act}", word)
        ended.append(_carried_out(desk, name, subject))
        if ended[-1].state not in OVER:
            break
    desk.table(("service", "is now", "error"), [(each.service, each.state, each.error) for each in ended])
    desk.document({"items": ended})
    if ended[-1].state not in OVER:
        desk.warn(f"{ended[-1].service} did not end the hold; the services behind it were not asked")
        raise SystemExit(int(Exit.PARTLY if len(ended) > 1 else Exit.REFUSED))


def _carried_out(desk: OpsDesk, service: str, subject: str) -> HoldDetail:
    """The hold once the service has done what it was told, or as it is when that takes too long."""
    until = desk.clock.monotonic() + CARRIED_OUT_SECONDS_MAX
    while True:
        hold = desk.get(HoldDetail, _path(service, subject))
        if hold.state not in WAITING or desk.clock.monotonic() > until:
            return hold
        time.sleep(LOOK_AGAIN_SECONDS)


def _details(desk: OpsDesk, subject: str, service: str) -> list[HoldDetail]:
    """The holds of a subject in the services that know one. Raises `Stopped` when none does."""
    found = []
    for name in _services(service):
        try:
            found.append(desk.get(HoldDetail, _path(name, subject)))
        except ApiError as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise
    if not found:
        raise Stopped(Exit.REFUSED, "no service that was asked holds it, or ever did")
    return found


def _holds(desk: OpsDesk, service: str) -> Iterator[Hold]:
    cursor: str | None = None
    while True:
        page = desk.get(Paged[Hold], f"/services/{service}/parked", limit=PAGE, cursor=cursor)
        yield from page.items
        cursor = page.next
        if cursor is None:
            return


def _path(service: str, subject: str) -> str:
    return f"/services/{service}/parked/{segment(subject)}"


def _services(service: str) -> tuple[str, ...]:
    return SERVICES if service == ALL else (service,)
