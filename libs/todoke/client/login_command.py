"""`todoke login` and `logout`, and the logins that a program which runs for days carries with it."""

import dataclasses
import os
from pathlib import Path

import click
from pydantic import BaseModel, ValidationError

from todoke.client.desk import EXIT_CODES, Desk, Exit, Stopped, at_desk
from todoke.client.errors import NotLoggedIn

C_PASSWORD = "TODOKE_C_PASSWORD"  # noqa: S105 (the name of a variable)
KJ_PASSWORD = "TODOKE_KJ_PASSWORD"  # noqa: S105 (the name of a variable)


@dataclasses.dataclass(frozen=True, slots=True)
class Logins:
    """Both logins of an office, and the address they are for (None: the caller's)."""

    c_id: str
    c_password: str
    kj_id: str
    kj_password: str
    url: str | None = None


class DemoOffice(BaseModel):
    """A practice office of `demo.json`."""

    number: str
    name: str
    c_id: str
    c_password: str
    kj_id: str
    kj_password: str


class Demo(BaseModel):
    """What `todoke up --demo` writes."""

    url: str
    offices: tuple[DemoOffice, ...]


@click.command(
    "login",
    epilog=EXIT_CODES,
    short_help="ログインします。",
    help=f"ログインします。パスワードは画面で入れるか、環境変数 {C_PASSWORD} と {KJ_PASSWORD} で渡します。",
)
@click.option("--c-id", help="「c」から始まるユーザID（1段目）")
@click.option("--kj-id", help="「KJ」から始まるユーザID（2段目）")
@click.option(
    "--demo", type=click.Path(exists=True, file_okay=False, path_type=Path), help="todoke up --demo のフォルダ"
)
@click.option("--office", help="--demo のとき: 事業所番号")
@at_desk
def login(desk: Desk, c_id: str | None, kj_id: str | None, demo: Path | None, office: str | None) -> None:
    """Log in with both steps; passwords never stand on the command line."""
    logins = _typed(c_id, kj_id) if demo is None else _practice(demo, office)
    with desk.stranger(logins.url) as client:
        session = client.login(logins.c_id, logins.c_password, logins.kj_id, logins.kj_password)
    desk.store.save(session)
    desk.say(f"{session.office.name}（{session.office.number}）としてログインしました。")
    if session.must_change:
        desk.warn("パスワードの変更が必要です。画面から変更してください。")
    desk.document(
        {
            "office": session.office,
            "user": session.user,
            "must_change": session.must_change,
            "access_until": session.access_until.isoformat(),
            "refresh_until": session.refresh_until.isoformat(),
        }
    )


def _typed(c_id: str | None, kj_id: str | None) -> Logins:
    first = c_id or click.prompt("「c」から始まるユーザID", err=True)
    first_password = os.environ.get(C_PASSWORD) or click.prompt("パスワード（1段目）", hide_input=True, err=True)
    second = kj_id or click.prompt("「KJ」から始まるユーザID", err=True)
    second_password = os.environ.get(KJ_PASSWORD) or click.prompt("パスワード（2段目）", hide_input=True, err=True)
    return Logins(first, first_password, second, second_password)


def _practice(folder: Path, number: str | None) -> Logins:
    try:
        demo = Demo.model_validate_json((folder / "demo.json").read_bytes())
    except (OSError, ValidationError):
        raise Stopped(Exit.USAGE, f"{folder / 'demo.json'} を読めません。todoke up --demo で始めてください。") from None
    for office in demo.offices:
        if office.number == number:
            return Logins(office.c_id, office.c_password, office.kj_id, office.kj_password, demo.url)
    known = "、".join(f"{office.number}（{office.name}）" for office in demo.offices)
    raise Stopped(Exit.USAGE, f"--office に練習の事業所番号を指定してください: {known}")


def standing(c_id: str | None, kj_id: str | None, demo: Path | None, office: str | None) -> Logins | None:
    """The logins of a program that nobody sits beside: passwords come from the environment only; None without any."""
    if demo is not None:
        return _practice(demo, office)
    if c_id is None and kj_id is None:
        return None
    passwords = os.environ.get(C_PASSWORD), os.environ.get(KJ_PASSWORD)
    if c_id is None or kj_id is None or passwords[0] is None or passwords[1] is None:
        raise Stopped(
            Exit.USAGE, f"--c-id と --kj-id の両方と、環境変数 {C_PASSWORD} と {KJ_PASSWORD} を指定してください。"
        )
    return Logins(c_id, passwords[0], kj_id, passwords[1])


@click.command("logout", epilog=EXIT_CODES, help="ログアウトします。")
@at_desk
def logout(desk: Desk) -> None:
    """End the session here and at the service."""
    with desk.client() as client:
        try:
            client.logout()
        except NotLoggedIn:
            client.core.end()
    desk.say("ログアウトしました。")
    desk.document({"status": "logged_out"})
