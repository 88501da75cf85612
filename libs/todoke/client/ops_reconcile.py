"""`todoke ops reconcile`: what comparisons of journal, topic and objects found, and another one on demand."""

import itertools
from collections.abc import Iterable, Mapping

import click

from todoke.client.desk import Exit
from todoke.client.ops_desk import EXIT_CODES, ONE_SERVICE, OpsDesk, Word, at_ops_desk, changing, moment
from todoke.client.ops_shapes import Asked, Finding, Findings, Report, Reports

REPORTS_SHOWN = 10
PAGE = 200

_UNCLEAN = (
    "not clean: nothing is swept until it is. Deal with what is named, then compare again: todoke ops reconcile now"
)


@click.group("reconcile")
def reconcile() -> None:
    """Whether a service's journal, its topic and its objects still hold the same."""


@reconcile.command("show", epilog=EXIT_CODES)
@ONE_SERVICE
@click.option("--report", type=click.IntRange(min=1), help="everything that this one could not mend")
@at_ops_desk
def show(desk: OpsDesk, service: str, report: int | None) -> None:
    """The last comparisons, and what they could not mend; exit 1 while something is left."""
    if report is not None:
        _show_findings(desk, service, report)
        return
    page = desk.get(Reports, f"/services/{service}/reconcile", limit=REPORTS_SHOWN)
    desk.table(
        ("report", "began (Japan)", "why", "compared", "looked at", "taken back", "published again", "not mended"),
        [_row(each) for each in page.items],
    )
    open_ones = list(itertools.takewhile(lambda report: not report.clean, page.items))
    for each in open_ones:
        if each.unhealed:
            left = each.count - len(each.unhealed)
            more = f", and {left} more: --report {each.id}" if left else ""
            _tell(desk, each.unhealed, f"report {each.id} could not mend{more}")
    named = {thing.kind for each in open_ones for thing in each.unhealed}
    _advise(desk, {kind: what_to_do for kind, what_to_do in page.advice.items() if kind in named})
    if page.asked_at is not None:
        desk.say(f"{page.asked_by} asked for another one {moment(page.asked_at)}; it has not ended")
    desk.say("clean: nothing is left that was not mended" if page.clean else _UNCLEAN)
    desk.document(page)
    if not page.clean:
        raise SystemExit(int(Exit.REFUSED))


def _show_findings(desk: OpsDesk, service: str, report: int) -> None:
    items: list[Finding] = []
    advice: dict[str, str] = {}
    cursor: str | None = None
    while True:
        page = desk.get(Findings, f"/services/{service}/reconcile/{report}", limit=PAGE, cursor=cursor)
        items += page.items
        advice |= page.advice
        cursor = page.next
        if cursor is None:
            break
    _tell(desk, items, f"report {report} could not mend")
    _advise(desk, advice)
    desk.document({"report": report, "items": items, "advice": advice})


@reconcile.command("now", epilog=EXIT_CODES)
@ONE_SERVICE
@at_ops_desk
@changing
def now(desk: OpsDesk, word: Word, service: str) -> None:
    """Let a service compare everything, beside its work: all of its topic and, where it has any, all objects."""
    asked = desk.post(Asked, f"/services/{service}/reconcile", word)
    desk.say(f"{asked.service} begins within seconds: todoke ops reconcile show {asked.service}")
    desk.document(asked)


def _row(report: Report) -> tuple[str, ...]:
    return (
        str(report.id),
        moment(report.began_at),
        report.trigger if report.mismatch is None else f"{report.trigger}: {report.mismatch}",
        report.compared,
        f"{report.looked_at:,}",
        f"{report.taken_back:,}",
        f"{report.published_again:,}",
        f"{report.count:,}",
    )


def _tell(desk: OpsDesk, things: Iterable[Finding], title: str) -> None:
    desk.table(("what", "message, office or place"), [(each.kind, each.subject) for each in things], title=title)


def _advise(desk: OpsDesk, advice: Mapping[str, str]) -> None:
    for kind, what_to_do in advice.items():
        desk.say(f"{kind}: {what_to_do}")
