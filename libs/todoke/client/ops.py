"""`todoke ops`: operators' commands, over HTTP on the operators' listener. docs/operators.md says what they do."""

import os
from datetime import timedelta
from pathlib import Path

import click
import pyotp
from pydantic import ValidationError

from todoke.client.desk import Exit, Stopped
from todoke.client.ops_commands import breaker, projection, status, trace
from todoke.client.ops_desk import EXIT_CODES, OperatorSession, OpsDesk, at_ops_desk, moment
from todoke.client.ops_notices import applications, notices
from todoke.client.ops_offices import offices
from todoke.client.ops_parked import parked
from todoke.client.ops_reconcile import reconcile
from todoke.client.ops_shapes import OperatorToken
from todoke.client.shapes import Shape

PASSWORD = "TODOKE_OPERATOR_PASSWORD"  # noqa: S105 (the name of a variable)
CODE = "TODOKE_OPERATOR_TOTP"


class PracticeOperator(Shape):
    """The operator of `demo.json`."""

    url: str
    user_id: str
    password: str
    totp_secret: str


class Practice(Shape):
    """As much of `demo.json` as operators need."""

    operator: PracticeOperator


@click.group("ops", epilog=EXIT_CODES, short_help="What operators do.")
def ops() -> None:
    """What operators do: look, decide about held messages, look after offices. Every change needs reason and ticket."""


@ops.command("login", epilog=EXIT_CODES)
@click.option("--user-id", help="the operator's ID")
@click.option(
    "--demo", type=click.Path(exists=True, file_okay=False, path_type=Path), help="folder of todoke up --demo"
)
@at_ops_desk
def login(desk: OpsDesk, user_id: str | None, demo: Path | None) -> None:
    """Log in with password and code (asked for, or TODOKE_OPERATOR_PASSWORD and TODOKE_OPERATOR_TOTP), for an hour."""
    if demo is None:
        url, typed = desk.address(), _typed(user_id)
    else:
        practice = _practice(demo)
        url = desk.address(practice.url)
        code = pyotp.TOTP(practice.totp_secret).at(desk.clock.now())
        typed = (practice.user_id, practice.password, code)
    body = dict(zip(("user_id", "password", "totp"), typed, strict=True))
    token = desk.log_in(OperatorToken, url, body)
    access_until = desk.clock.now() + timedelta(seconds=token.expires_in)
    desk.store.save(
        OperatorSession(url=url, user_id=typed[0], access_token=token.access_token, access_until=access_until)
    )
    desk.say(f"logged in as {typed[0]} until {moment(access_until)}")
    desk.document({"user_id": typed[0], "url": url, "access_until": access_until.isoformat()})


def _typed(user_id: str | None) -> tuple[str, str, str]:
    who = user_id or click.prompt("operator's ID", err=True)
    password = os.environ.get(PASSWORD) or click.prompt("password", hide_input=True, err=True)
    code = os.environ.get(CODE) or click.prompt("code", hide_input=True, err=True)
    return who, password, code


def _practice(folder: Path) -> PracticeOperator:
    try:
        return Practice.model_validate_json((folder / "demo.json").read_bytes()).operator
    except (OSError, ValidationError):
        raise Stopped(Exit.USAGE, f"{folder / 'demo.json'} cannot be read: start with todoke up --demo") from None


@ops.command("logout", epilog=EXIT_CODES)
@at_ops_desk
def logout(desk: OpsDesk) -> None:
    """End the session here and at the service."""
    try:
        desk.log_out()
    finally:
        desk.store.clear()
    desk.say("logged out")
    desk.document({"status": "logged_out"})


for command in (status, trace, parked, breaker, reconcile, projection, offices, applications, notices):
    ops.add_command(command)
