"""`todoke ops applications` and `todoke ops notices`: what offices ask operators for, and what operators tell them."""

from datetime import datetime
from pathlib import Path
from uuid import UUID

import click

from todoke.client.ops_desk import EXIT_CODES, OpsDesk, Word, at_ops_desk, changing, moment
from todoke.client.ops_shapes import MadeNotice, Paged, ReceivedApplication
from todoke.client.wording import JAPAN

STATES = ("received", "approved", "refused")
TIME = click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"])
LIMIT = click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)


@click.group("applications")
def applications() -> None:
    """What offices apply for: look, approve, refuse."""


@applications.command("list", epilog=EXIT_CODES)
@click.option("--state", type=click.Choice(STATES), help="only these; without it all")
@LIMIT
@at_ops_desk
def list_applications(desk: OpsDesk, state: str | None, limit: int) -> None:
    """Applications, the oldest first, with whom to ask."""
    page = desk.get(Paged[ReceivedApplication], "/applications", state=state, limit=limit)
    desk.table(
        ("application", "office", "name", "kind", "contact", "mail", "state", "received (Japan)"),
        [
            (
                str(one.id),
                one.office.number,
                one.office.name,
                one.kind,
                one.contact_name,
                one.mail,
                one.state,
                moment(one.received_at),
            )
            for one in page.items
        ],
    )
    desk.document(page)


@applications.command("approve", epilog=EXIT_CODES)
@click.argument("application", type=click.UUID)
@at_ops_desk
@changing
def approve(desk: OpsDesk, word: Word, application: UUID) -> None:
    """The office is licensed for a year, and has a person (c-ID) who administers it."""
    made = desk.post(ReceivedApplication, f"/applications/{application}/approve", word)
    desk.say(f"{made.office.number}: approved; its c-ID is {made.c_id}")
    desk.document(made)


@applications.command("refuse", epilog=EXIT_CODES)
@click.argument("application", type=click.UUID)
@click.option("--answer", required=True, help="what the office reads (Japanese; what it can do)")
@at_ops_desk
@changing
def refuse(desk: OpsDesk, word: Word, application: UUID, answer: str) -> None:
    """No licence; the office reads the answer."""
    made = desk.post(ReceivedApplication, f"/applications/{application}/refuse", {**word, "answer": answer})
    desk.say(f"{made.office.number}: refused")
    desk.document(made)


@click.group("notices")
def notices() -> None:
    """Notices to offices: look, publish, withdraw."""


@notices.command("list", epilog=EXIT_CODES)
@LIMIT
@at_ops_desk
def list_notices(desk: OpsDesk, limit: int) -> None:
    """Every notice, the newest first, future and withdrawn ones too."""
    page = desk.get(Paged[MadeNotice], "/notices", limit=limit)
    desk.table(
        ("notice", "from (Japan)", "title", "for", "says of the system", "until", "withdrawn"),
        [
            (
                str(one.id),
                moment(one.published_at),
                one.title,
                " ".join((one.audience.kind, *one.audience.values)),
                one.state or "",
                moment(one.until),
                moment(one.withdrawn_at),
            )
            for one in page.items
        ],
    )
    desk.document(page)


@notices.command("publish", epilog=EXIT_CODES)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--title", required=True, help="its title (Japanese)")
@click.option("--at", type=TIME, help="read from then on (Japan) [now]")
@click.option("--important", is_flag=True, help="everybody has to open it")
@click.option("--service-type", "types", multiple=True, help="only for offices with this code; again for more")
@click.option("--prefecture", "prefectures", multiple=True, help="only for offices there; again for more")
@click.option("--state", type=click.Choice(("normal", "slow", "down")), help="what it says of the whole system")
@click.option("--until", type=TIME, help="how long it says so (Japan)")
@at_ops_desk
@changing
def publish(
    desk: OpsDesk,
    word: Word,
    *,
    file: Path,
    title: str,
    at: datetime | None,
    types: tuple[str, ...],
    prefectures: tuple[str, ...],
    state: str | None,
    until: datetime | None,
    important: bool,
) -> None:
    """Publish the text in FILE (UTF-8), at once or at its time."""
    if types and prefectures:
        raise click.UsageError("say --service-type or --prefecture, not both")
    kind = "service_types" if types else "prefectures" if prefectures else "all"
    body = {
        **word,
        "title": title,
        "text": file.read_text(encoding="utf-8"),
        "published_at": _japan(at),
        "important": important,
        "audience": {"kind": kind, "values": [*types, *prefectures]},
        "state": state,
        "until": _japan(until),
    }
    made = desk.post(MadeNotice, "/notices", body)
    desk.say(f"{made.id}: read from {moment(made.published_at)} on")
    desk.document(made)


@notices.command("withdraw", epilog=EXIT_CODES)
@click.argument("notice", type=click.UUID)
@at_ops_desk
@changing
def withdraw(desk: OpsDesk, word: Word, notice: UUID) -> None:
    """Nobody reads it any more, and what it said of the system does not hold."""
    made = desk.post(MadeNotice, f"/notices/{notice}/withdraw", word)
    desk.say(f"{made.id}: withdrawn")
    desk.document(made)


def _japan(moment_typed: datetime | None) -> str | None:
    return None if moment_typed is None else moment_typed.replace(tzinfo=JAPAN).isoformat()
