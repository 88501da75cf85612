"""The command `todoke`: the composition root of the services, beside the client's commands.

Each command imports what only it needs: an office that asks `todoke sent` does not wait for the services to load.
"""

import asyncio
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

import click

from todoke.client import cli
from todoke.client.ops import ops

HOME = click.option("--home", type=click.Path(path_type=Path), default=Path(".todoke"), show_default=True)
PORT = click.option("--port", type=click.IntRange(1024, 65533), default=8080, show_default=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Todoke (届け) carries care-plan documents between care offices."""


@main.command(short_help="Start the engines and every service.")
@HOME
@PORT
@click.option("--demo", is_flag=True, help="Load the practice offices once and print their logins.")
def up(home: Path, port: int, demo: bool) -> None:  # noqa: FBT001 (click hands flags over like this)
    """Start the engines and every service in the foreground; Ctrl-C stops everything."""
    from services.supervisor import NotStarted, Supervisor
    from todoke.engines import EngineError
    from todoke.relay.faults import Transient
    from todoke.relay.migrate import MigrationFailed

    try:
        Supervisor(home.resolve(), port, demo=demo).run()
    except (NotStarted, EngineError, MigrationFailed, Transient) as trouble:
        _fail(trouble)


@main.command(short_help="Run services against engines that run.")
@click.argument("names", nargs=-1)
@HOME
@PORT
@click.option("--role", type=click.Choice(["web", "work", "both"]), default="both", hidden=True)
@click.option("--no-ground", is_flag=True, hidden=True)
def serve(names: tuple[str, ...], home: Path, port: int, role: str, no_ground: bool) -> None:  # noqa: FBT001 (an option of the command line)
    """Run the named services (all, when none is named) in one process, over engines that run already.

    HTTP is served on --port, the operators' calls on the next one. TODOKE_KAFKA, TODOKE_POSTGRES and TODOKE_S3 name
    engines other than the home's own.
    """
    import uvloop

    from services import ground
    from services.process import run
    from todoke.engines import EngineError
    from todoke.events import SERVICES
    from todoke.relay.faults import Transient
    from todoke.relay.migrate import MigrationFailed

    try:
        settings = ground.settings_of(home.resolve(), f"http://127.0.0.1:{port}")
        if not no_ground:
            asyncio.run(ground.lay(settings, names or SERVICES))
        own_port = port + 2 if role == "work" else port
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(
                run(
                    settings,
                    names or SERVICES,
                    serves=role != "work",
                    works=role != "web",
                    port=own_port,
                    operator_port=port + 1,
                )
            )
    except (ValueError, EngineError, MigrationFailed, Transient) as trouble:
        _fail(trouble)
    sys.exit(code)


@main.group("operator")
def operator_group() -> None:
    """Who may log in on the operators' listener; for whoever holds the root key."""


@operator_group.command("add")
@click.argument("user_id")
@HOME
@click.option("--reason", required=True, help="Why, in a sentence that names no person; it is kept sealed.")
@click.option("--ticket", required=True, help="The ticket that asked for it; it is kept in clear.")
def add_operator(user_id: str, home: Path, reason: str, ticket: str) -> None:
    """Register an operator, and show password and second factor, once.

    USER_ID has 3 to 40 small letters, digits, dots, hyphens and underscores. The engines must run.
    """
    from pydantic import ValidationError

    from services import ground
    from services.registry.new_operator import NotAnId, OperatorThere
    from todoke.engines import EngineError
    from todoke.relay.acts import Word
    from todoke.relay.faults import Transient

    try:
        word = Word(reason=reason, ticket=ticket)
    except ValidationError:
        raise click.UsageError("a reason has 1 to 200 characters; a ticket no blanks, and at most 64") from None
    try:
        settings = ground.settings_of(home.resolve(), "http://127.0.0.1")
        made = asyncio.run(ground.add_operator(settings, user_id, word))
    except NotAnId:
        raise click.UsageError("USER_ID: 3 to 40 small letters, digits, '.', '-' and '_'") from None
    except OperatorThere:
        raise click.ClickException(f"there is an operator {user_id} already, or was") from None
    except (ValueError, EngineError, Transient) as trouble:
        _fail(trouble)
    click.echo(f"user ID        {made.user_id}\npassword       {made.password}\nsecond factor  {made.totp_secret}")
    click.echo(f"               {made.totp_address}")
    click.echo("Shown once. Put the second factor into an authenticator, then: todoke ops login", err=True)


@main.group("engines")
def engines_group() -> None:
    """Run the engines alone."""


@engines_group.command("up")
@HOME
def engines_up(home: Path) -> None:
    """Start Kafka, PostgreSQL and S3 of a home in the foreground."""
    from services import ground
    from todoke import engines

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        running = engines.up(home.resolve(), only=ground.own_engines())
    except engines.EngineError as trouble:
        _fail(trouble)
    where = "   ".join(f"{one.name} {one.address}" for one in engines.status(home.resolve()) if one.is_running)
    click.echo(f"{where}   (Ctrl-C stops them)")
    while not stop.wait(0.5):
        if gone := running.ended():
            running.down()
            raise click.ClickException(f"{', '.join(gone)} ended; see the logs in {home}")
    running.down()


@engines_group.command("down")
@HOME
def engines_down(home: Path) -> None:
    """Stop the engines of a home."""
    from todoke import engines

    engines.down(home.resolve())


@engines_group.command("status")
@HOME
def engines_status(home: Path) -> None:
    """Say which engines of a home run, and where."""
    from todoke import engines

    for state in engines.status(home.resolve()):
        running = f"runs as {state.pid}" if state.is_running else "does not run"
        click.echo(f"{state.name:<9} {running:<20} {state.address}")


def _fail(trouble: Exception) -> NoReturn:
    click.echo(f"todoke: {trouble}", err=True)
    sys.exit(1)


cli.register(main)
main.add_command(ops)

if __name__ == "__main__":
    main()
