"""`todoke ops offices`: lists of offices, and single ones."""

import json
from datetime import datetime
from pathlib import Path

import click

from todoke.client.core import segment
from todoke.client.desk import Exit, Stopped
from todoke.client.ops_desk import EXIT_CODES, OpsDesk, Word, at_ops_desk, changing
from todoke.client.ops_shapes import ImportReport, ListedOffice, OfficeChanged, Paged
from todoke.client.wording import PARTICIPATION

NUMBER = click.argument("number")
CAUSES = ("granted", "renewed", "ended", "corrected", "auto_renew_stopped")
DRY: Word = {"reason": "dry run", "ticket": "dry-run"}
"""A dry run changes nothing and is not said: nobody is asked why."""


@click.group("offices")
def offices() -> None:
    """The list of offices: import it, find one, suspend, resume, set a licence."""


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
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@at_ops_desk
def find(desk: OpsDesk, query: str, limit: int) -> None:
    """Offices whose number or name holds the text, also those that take no part."""
    page = desk.get(Paged[ListedOffice], "/offices", q=query, limit=limit)
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
