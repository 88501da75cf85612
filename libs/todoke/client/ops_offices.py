"""`todoke ops offices`: lists of offices, and single ones."""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec

import click

from todoke.client.core import segment
from todoke.client.desk import Exit, Stopped
from todoke.client.errors import ClientError
from todoke.client.ops_desk import EXIT_CODES, OpsDesk, Word, at_ops_desk, changing, moment
from todoke.client.ops_shapes import ImportReport, ListedOffice, OfficeChanged, OfficePage, Paged, Registered
from todoke.client.wording import PARTICIPATION

P = ParamSpec("P")

NUMBER = click.argument("number")
FACTS = {
    "--name": "name of the office",
    "--service-types": "codes with spaces between them: '43 11'",
    "--prefecture": "prefecture by name",
    "--address": "address",
    "--phone": "telephone number",
    "--fax": "fax number",
}
CAUSES = ("granted", "renewed", "ended", "corrected", "auto_renew_stopped")
DRY: Word = {"reason": "dry run", "ticket": "dry-run"}
"""A dry run changes nothing and is not said: nobody is asked why."""


@click.group("offices")
def offices() -> None:
    """The list of offices: import it, find one, register, change, suspend, resume; licences and letters."""


@offices.command("import", epilog=EXIT_CODES)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="only say what would change")
@click.option("--destructive", is_flag=True, help="yes, change it")
@click.option("--reason", help="why (sealed; name no person)")
@click.option("--ticket", help="number of the ticket (stands in clear)")
@at_ops_desk
def import_offices(
    desk: OpsDesk, file: Path, *, dry_run: bool, destructive: bool, reason: str | None, ticket: str | None
) -> None:
    """Register the offices of a CSV file and change those that are different; exit 1 when lines were not taken.

    It can be run again at any time: what is so already is left alone.
    """
    if not dry_run and not (destructive and reason and ticket):
        raise Stopped(Exit.USAGE, "say --dry-run, or --destructive, --reason and --ticket. Nothing was changed.")
    word = DRY if dry_run else {"reason": reason, "ticket": ticket}
    act = json.dumps({**word, "dry_run": dry_run})
    report = desk.upload(ImportReport, "/offices/import", act, file)
    would = "would be " if dry_run else ""
    desk.say(
        f"{report.lines:,} offices: {report.registered:,} {would}registered, {report.changed:,} {would}changed, "
        f"{report.unchanged:,} unchanged, {report.bad:,} bad lines"
    )
    if report.problems:
        rows = [(str(each.line), each.reason) for each in report.problems]
        desk.table(("line", "why it was not taken"), rows, title=f"the first {len(rows)} bad lines")
    desk.document(report)
    if report.bad:
        raise SystemExit(int(Exit.REFUSED))


@offices.command("find", epilog=EXIT_CODES)
@click.argument("query", default="")
@click.option("--ending-before", type=click.DateTime(["%Y-%m-%d"]), help="whose licence ends before this day")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@at_ops_desk
def find(desk: OpsDesk, query: str, ending_before: datetime | None, limit: int) -> None:
    """Offices whose number or name holds the text, also those that take no part."""
    before = None if ending_before is None else ending_before.date().isoformat()
    page = desk.get(Paged[ListedOffice], "/offices", q=query, limit=limit, licence_until_before=before)
    desk.table(
        ("number", "name", "prefecture", "service types", "takes part", "licence until", "version"),
        [
            (
                each.number,
                each.facts.name,
                each.facts.prefecture,
                " ".join(each.facts.service_types),
                PARTICIPATION.get(each.facts.participation, each.facts.participation),
                "" if each.facts.licence_until is None else each.facts.licence_until.isoformat(),
                str(each.version),
            )
            for each in page.items
        ],
    )
    desk.document(page)


@offices.command("show", epilog=EXIT_CODES)
@NUMBER
@at_ops_desk
def show(desk: OpsDesk, number: str) -> None:
    """One office: facts, licence, letter, persons by name, certificates, application, and what happened last."""
    page = desk.get(OfficePage, f"/offices/{segment(number)}")
    desk.table(
        ("", ""),
        [
            ("number", page.number),
            ("KJ-ID", page.kj_id),
            ("name", page.facts.name),
            ("address", page.facts.address),
            ("telephone, fax", f"{page.facts.phone} {page.facts.fax}"),
            ("service types", " ".join(page.facts.service_types)),
            ("now", page.standing),
            ("licence", _licence_of(page)),
            ("letter", "none" if page.letter is None else f"{moment(page.letter.made_at)} by {page.letter.made_by}"),
            ("application", "none" if page.application is None else page.application.state),
            ("last login", moment(page.last_login_at)),
            *(("person", f"{user.id} {user.name} {' '.join(user.roles)} {user.state}") for user in page.users),
            *(("certificate", f"{one.issuer} {one.serial} {moment(one.not_after)}") for one in page.certificates),
        ],
    )
    desk.table(
        ("time (Japan)", "event", "by", "ticket"),
        [
            (moment(step.at), step.act or step.event, f"{step.actor.kind} {step.actor.id}", step.ticket or "")
            for step in page.history
        ],
    )
    desk.document(page)


def _licence_of(page: OfficePage) -> str:
    if page.licence is None or page.licence.until is None:
        return "none"
    return f"until {page.licence.until.isoformat()}{', renews by itself' if page.licence.renews else ''}"


def _facts(command: Callable[P, None]) -> Callable[P, None]:
    """The options that name facts of an office."""
    for option, told in reversed(FACTS.items()):
        command = click.option(option, help=told)(command)
    return command


def _given(facts: Mapping[str, str | None]) -> dict[str, Any]:
    """The facts that were named, as the API has them."""
    given: dict[str, Any] = {name: value for name, value in facts.items() if value is not None}
    if "service_types" in given:
        given["service_types"] = given["service_types"].split()
    return given


@offices.command("add", epilog=EXIT_CODES)
@NUMBER
@_facts
@at_ops_desk
@changing
def add(desk: OpsDesk, word: Word, /, number: str, **facts: str | None) -> None:
    """Register one office. It gets no licence, and no login before its letter."""
    if not facts.get("name"):
        raise Stopped(Exit.USAGE, "say --name. Nothing was changed.")
    made = desk.post(Registered, "/offices", {**word, "number": number, **_given(facts)})
    desk.say(f"{made.number}: registered, KJ-ID {made.kj_id}. Next: todoke ops offices letter {made.number} FILE")
    desk.document(made)


@offices.command("change", epilog=EXIT_CODES)
@NUMBER
@_facts
@at_ops_desk
@changing
def change(desk: OpsDesk, word: Word, /, number: str, **facts: str | None) -> None:
    """Other facts of an office; what is not named stays as it is."""
    _changed(desk, desk.patch(OfficeChanged, f"/offices/{segment(number)}", {**word, **_given(facts)}))


@offices.command("letter", epilog=EXIT_CODES)
@NUMBER
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--issued-on", type=click.DateTime(["%Y-%m-%d"]), help="the day that stands on it [today]")
@at_ops_desk
@changing
def letter(desk: OpsDesk, word: Word, number: str, file: Path, issued_on: datetime | None) -> None:
    """Make new secrets of an office and write the letter that tells them to FILE (PDF); earlier ones work no more."""
    if file.exists():
        raise Stopped(Exit.USAGE, f"{file} is there already. Nothing was changed.")
    day = None if issued_on is None else issued_on.date().isoformat()
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # before the secrets are made: told only once
    with os.fdopen(handle, "wb") as stream:
        try:
            stream.write(desk.fetch(f"/offices/{segment(number)}/letter", {**word, "issued_on": day}))
        except ClientError:
            file.unlink()
            raise
    desk.say(f"{number}: {file}")
    desk.document({"number": number, "file": str(file)})


@offices.command("certificate", epilog=EXIT_CODES)
@NUMBER
@click.option("--issuer", required=True, help="who signed it")
@click.option("--serial", required=True, help="hexadecimal, capitals")
@click.option("--not-after", required=True, type=click.DateTime(["%Y-%m-%d"]), help="its last day (UTC)")
@at_ops_desk
@changing
def certificate(desk: OpsDesk, word: Word, number: str, issuer: str, serial: str, not_after: datetime) -> None:
    """Record the client certificate of an office; nothing is bound to it yet."""
    ends = not_after.replace(tzinfo=UTC).isoformat()
    body = {**word, "issuer": issuer, "serial": serial, "not_after": ends}
    _changed(desk, desk.post(OfficeChanged, f"/offices/{segment(number)}/certificate", body))


@offices.command("suspend", epilog=EXIT_CODES)
@NUMBER
@at_ops_desk
@changing
def suspend(desk: OpsDesk, word: Word, number: str) -> None:
    """The office takes no part for the time being."""
    _changed(desk, desk.post(OfficeChanged, f"/offices/{segment(number)}/suspend", word))


@offices.command("resume", epilog=EXIT_CODES)
@NUMBER
@at_ops_desk
@changing
def resume(desk: OpsDesk, word: Word, number: str) -> None:
    """The office takes part again."""
    _changed(desk, desk.post(OfficeChanged, f"/offices/{segment(number)}/resume", word))


@offices.command("licence", epilog=EXIT_CODES)
@NUMBER
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="its last day in Japan; without it there is none")
@click.option("--renews", is_flag=True, help="it renews by itself")
@click.option("--cause", type=click.Choice(CAUSES), default="corrected", show_default=True)
@at_ops_desk
@changing
def licence(desk: OpsDesk, word: Word, number: str, until: datetime | None, *, renews: bool, cause: str) -> None:
    """The licence of an office has another end."""
    last = None if until is None else until.date().isoformat()
    body = {**word, "until": last, "renews": renews, "cause": cause}
    _changed(desk, desk.post(OfficeChanged, f"/offices/{segment(number)}/licence", body))


def _changed(desk: OpsDesk, answer: OfficeChanged) -> None:
    desk.say(f"{answer.number}: {'changed' if answer.changed else 'it was so already'}")
    desk.document(answer)
