"""`todoke ops status`, `trace`, `breaker` and `projection`."""

import time
from itertools import chain
from uuid import UUID

import click

from todoke.client.desk import Exit
from todoke.client.ops_desk import EXIT_CODES, ONE_SERVICE, OpsDesk, Word, at_ops_desk, changing, moment
from todoke.client.ops_shapes import (
    Breaker,
    BreakerChanged,
    Comparison,
    RebuildBegun,
    RebuildState,
    ServiceStatus,
    Step,
    Story,
    Switched,
)

REBUILD = "/services/projection/rebuild"
COMPARE = "/services/projection/rebuild/compare"
SWITCH = "/services/projection/rebuild/switch"
LOOK_AGAIN_SECONDS = 2.0
"""How often a rebuild that is waited for is looked at."""


@click.command("status", epilog=EXIT_CODES)
@at_ops_desk
def status(desk: OpsDesk) -> None:
    """Every service at a glance: held messages, breaker, what it has not heard, what Kafka does not hold yet."""
    found, missing = desk.everywhere(lambda name: desk.get(ServiceStatus, f"/services/{name}/status"))
    desk.table(
        ("service", "held", "breaker", "behind", "outbox", "oldest (s)", "refused by Kafka"),
        [
            (
                each.service,
                str(each.held),
                "OPEN" if each.breaker_open else "closed",
                "?" if each.behind is None else str(each.behind),
                str(each.outbox_rows),
                f"{each.outbox_seconds:.0f}",
                str(each.refused),
            )
            for each in found
        ],
    )
    desk.document({"services": found, "not_reached": missing})
    desk.end(missing)


@click.command("trace", epilog=EXIT_CODES)
@click.argument("message_id", type=click.UUID)
@at_ops_desk
def trace(desk: OpsDesk, message_id: UUID) -> None:
    """The story of a message over all services, by time: events, operators' acts, holds."""
    stories, missing = desk.everywhere(lambda name: desk.get(Story, f"/services/{name}/journal/{message_id}"))
    steps = sorted(chain.from_iterable(story.events for story in stories), key=lambda step: step.at)
    holds = sorted(chain.from_iterable(story.holds for story in stories), key=lambda hold: hold.held_at)
    desk.table(
        ("time (Japan)", "event", "service", "by", "from", "to", "event ID"),
        [
            (
                moment(step.at),
                _what(step),
                step.service,
                f"{step.actor.kind} {step.actor.id}",
                step.sender or "",
                step.recipient or "",
                str(step.event_id),
            )
            for step in steps
        ],
    )
    if holds:
        rows = [(each.service, each.state, str(each.records), moment(each.held_at), each.error) for each in holds]
        desk.table(("service", "state", "records", "since (Japan)", "error"), rows, title="held")
    desk.document({"message_id": message_id, "events": steps, "holds": holds, "not_reached": missing})
    if not steps and not holds and not missing:
        raise SystemExit(int(Exit.REFUSED))
    desk.end(missing)


def _what(step: Step) -> str:
    return step.type if step.act is None else f"{step.type}: {step.act} ({step.ticket})"


@click.group("breaker")
def breaker() -> None:
    """The breaker of each service: open means that it has stopped consuming."""


@breaker.command("show", epilog=EXIT_CODES)
@at_ops_desk
def show_breakers(desk: OpsDesk) -> None:
    """How the breakers stand."""
    found, missing = desk.everywhere(lambda name: desk.get(Breaker, f"/services/{name}/breaker"))
    desk.table(
        ("service", "breaker", "since (Japan)", "reason"),
        [
            (each.service, "OPEN" if each.open else "closed", moment(each.tripped_at), each.reason or "")
            for each in found
        ],
    )
    desk.document({"breakers": found, "not_reached": missing})
    desk.end(missing)


@breaker.command("reset", epilog=EXIT_CODES)
@ONE_SERVICE
@at_ops_desk
@changing
def reset_breaker(desk: OpsDesk, word: Word, service: str) -> None:
    """Let a service consume again, once what was wrong is mended."""
    _breaker_changed(desk, desk.post(BreakerChanged, f"/services/{service}/breaker/reset", word))


@breaker.command("trip", epilog=EXIT_CODES)
@ONE_SERVICE
@at_ops_desk
@changing
def trip_breaker(desk: OpsDesk, word: Word, service: str) -> None:
    """Let a service stop consuming."""
    _breaker_changed(desk, desk.post(BreakerChanged, f"/services/{service}/breaker/trip", word))


def _breaker_changed(desk: OpsDesk, answer: BreakerChanged) -> None:
    state = "open" if answer.open else "closed"
    desk.say(f"{answer.service}: the breaker is {state}{'' if answer.changed else ' (it was already)'}")
    desk.document(answer)


@click.group("projection")
def projection() -> None:
    """Rebuild the lists beside the live ones, compare the two, switch."""


@projection.command("rebuild", epilog=EXIT_CODES)
@click.option("--wait", is_flag=True, help="show the progress until it is ready")
@at_ops_desk
@changing
def rebuild(desk: OpsDesk, word: Word, *, wait: bool) -> None:
    """Begin to build the lists anew from the log; the live ones go on."""
    begun = desk.post(RebuildBegun, REBUILD, word)
    if not wait:
        desk.say(f"run {begun.run} has begun: todoke ops projection status")
        desk.document(begun)
        return
    while (state := desk.get(RebuildState, REBUILD)).state == "running":
        desk.warn(_progress(state))
        time.sleep(LOOK_AGAIN_SECONDS)
    _tell(desk, state)


@projection.command("status", epilog=EXIT_CODES)
@at_ops_desk
def rebuild_status(desk: OpsDesk) -> None:
    """How far the rebuild is."""
    _tell(desk, desk.get(RebuildState, REBUILD))


@projection.command("compare", epilog=EXIT_CODES)
@at_ops_desk
@changing
def compare(desk: OpsDesk, word: Word) -> None:
    """Compare the rebuilt lists with the live ones, piece by piece; exit 1 when they differ."""
    answer = desk.post(Comparison, COMPARE, word)
    while answer.state == "running":
        desk.warn(f"compared: {sum(table.live for table in answer.tables.values()):,} rows")
        time.sleep(LOOK_AGAIN_SECONDS)
        answer = desk.get(Comparison, COMPARE)
    desk.say("the two are equal" if answer.equal else f"the two differ in {answer.offices:,} offices:")
    desk.table(
        ("office", "table", "live", "rebuilt"),
        [(each.office, each.table, f"{each.live:,}", f"{each.beside:,}") for each in answer.differences],
    )
    desk.document(answer)
    if not answer.equal:
        raise SystemExit(int(Exit.REFUSED))


@projection.command("abandon", epilog=EXIT_CODES)
@at_ops_desk
@changing
def abandon(desk: OpsDesk, word: Word) -> None:
    """Give up the lists beside the live ones: those that are being rebuilt, or those that were live before."""
    desk.delete(REBUILD, word)
    desk.say("given up: they are removed within seconds")
    desk.document({"state": "none"})


@projection.command("switch", epilog=EXIT_CODES)
@at_ops_desk
@changing
def switch(desk: OpsDesk, word: Word) -> None:
    """Let offices read the rebuilt lists from now on."""
    done = desk.post(Switched, SWITCH, word)
    desk.say(f"switched: offices read the rebuilt lists; those of before are kept until {moment(done.kept_until)}")
    desk.document(done)


def _progress(state: RebuildState) -> str:
    return f"{state.state}: {state.progress.heard:,} of {state.progress.total:,} events"


def _tell(desk: OpsDesk, state: RebuildState) -> None:
    if state.kept_until is None:
        desk.say(_progress(state))
    else:
        until = moment(state.kept_until)
        desk.say(f"switched; the lists of before are kept until {until} (switch goes back to them, abandon drops them)")
    desk.document(state)
    if state.state == "failed":
        desk.warn("the rebuild failed: see the log of projection")
        raise SystemExit(int(Exit.REFUSED))
