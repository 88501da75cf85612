"""`todoke watch`: an outgoing folder is sent, an incoming one filled, until somebody stops it."""

import contextlib
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from todoke.client.core import Patience
from todoke.client.desk import EXIT_CODES, Desk, Exit, Stopped, Tell, at_desk, exit_code, office_of, sentence_of
from todoke.client.drivers import Client
from todoke.client.errors import ApiError, ClientError
from todoke.client.incoming_folder import IncomingFolder
from todoke.client.login_command import Logins, standing
from todoke.client.outgoing_folder import OutgoingFolder
from todoke.client.saving import Unsavable
from todoke.client.session import MemoryStore
from todoke.client.watched_folder import Owner, Unwatchable, WatchedFolder

SETTLE_SECONDS = 5.0
"""Files that have not changed for so long are taken for whole, unless the caller says otherwise."""

LOOK_SECONDS = 2.0
"""Pause between two looks at the outgoing folder, and between two tries while the service is away (grows)."""

ASK_SECONDS = 30.0
"""Longest pause between two looks at the lists: what is pushed is looked at at once."""

AWAY_SECONDS_MAX = 60.0
PATIENCE = Patience(seconds=20)
"""Of one call: the loop has more, and other work."""


@click.command(
    "watch",
    epilog=EXIT_CODES,
    short_help="フォルダを見張り、置いたものを送り、届いたものを入れます。",
    help="フォルダを見張ります。--out に置いたものを送り、届いたものを --in に入れます（受領も知らせます）。"
    "Ctrl-Cで止まります。いつ止まっても、何もなくならず、2回送られることもありません。",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="送信用のフォルダ")
@click.option("--in", "into", type=click.Path(file_okay=False, path_type=Path), help="受信用のフォルダ")
@click.option("--once", is_flag=True, help="一度だけ見て終わります（定期実行用）")
@click.option(
    "--settle", type=click.FloatRange(0, 3600), default=SETTLE_SECONDS, show_default=True, help="変わらずに待つ秒数"
)
@click.option("--since", type=click.IntRange(0), default=0, help="初めて使う受信フォルダ: この配信番号より後から")
@click.option("--c-id", envvar="TODOKE_C_ID", help="自動でログインし直すためのID（パスワードは環境変数）")
@click.option("--kj-id", envvar="TODOKE_KJ_ID", help="同じく「KJ」から始まるID")
@click.option("--demo", type=click.Path(exists=True, file_okay=False, path_type=Path), help="練習: todoke up --demo")
@click.option("--office", help="--demo のとき: 事業所番号")
@at_desk
def watch(
    desk: Desk,
    out: Path | None,
    into: Path | None,
    *,
    once: bool,
    settle: float,
    since: int,
    c_id: str | None,
    kj_id: str | None,
    demo: Path | None,
    office: str | None,
) -> None:
    """Send what an outgoing folder holds, fill an incoming one; go on by itself when the service was away."""
    folders = [path.resolve() for path in (out, into) if path is not None]
    if not folders:
        raise click.UsageError("--out か --in（または両方）を指定してください。")
    if len(folders) > 1 and (folders[0].is_relative_to(folders[1]) or folders[1].is_relative_to(folders[0])):
        raise click.UsageError("--out と --in には、別々の（入れ子でない）フォルダを指定してください。")
    with contextlib.ExitStack() as held:
        watched = [WatchedFolder(path) for path in folders]
        try:
            for folder in watched:
                held.enter_context(folder.held())
            watching = Watching(
                Doors(desk, standing(c_id, kj_id, demo, office)),
                watched,
                OutgoingFolder(watched[0], settle, desk.tell) if out is not None else None,
                IncomingFolder(watched[-1], since, desk.tell) if into is not None else None,
                desk.tell,
            )
            held.callback(watching.close)
            if once:
                watching.once(settle)
            else:
                watching.forever()
        except Unwatchable as trouble:
            raise Stopped(Exit.REFUSED, str(trouble)) from None


class Doors:
    """Makes clients: of the kept session, or of logins that are used again whenever their session has ended."""

    def __init__(self, desk: Desk, logins: Logins | None) -> None:
        self._desk = desk
        self._logins = logins
        self._session = MemoryStore()

    @property
    def open_again(self) -> bool:
        """Whether a session that has ended can be begun anew without a person."""
        return self._logins is not None

    def client(self) -> Client:
        """A client of the session there is."""
        if self._logins is None:
            return self._desk.client(PATIENCE)
        return self._desk.stranger(self._logins.url, self._session, PATIENCE)

    def logged_in(self) -> Client:
        """A client that is logged in. Raises `NotLoggedIn`, and what a login raises."""
        client = self.client()
        try:
            if self._logins is not None:
                client.login(self._logins.c_id, self._logins.c_password, self._logins.kj_id, self._logins.kj_password)
            office_of(client)
        except BaseException:
            client.close()
            raise
        return client


class Watching:
    """The loop over both folders."""

    def __init__(
        self,
        doors: Doors,
        watched: list[WatchedFolder],
        outgoing: OutgoingFolder | None,
        incoming: IncomingFolder | None,
        tell: Tell,
    ) -> None:
        self._doors = doors
        self._watched = watched
        self._outgoing = outgoing
        self._incoming = incoming
        self._tell = tell
        self._client: Client | None = None
        self._listener: threading.Thread | None = None
        self._pushed = threading.Event()
        self._ask_at = 0.0
        self._trouble = ""

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def once(self, settle: float) -> None:
        """One turn of each side.

        Raises:
            ClientError: the service is away, refuses this office, or nobody is logged in.
            Stopped: something was refused, or a folder cannot be used.
        """
        try:
            self.turn()
            if self._outgoing is not None and not self._outgoing.is_empty:
                self._pushed.wait(settle)
                self.turn()
        except OSError as trouble:
            raise Stopped(Exit.REFUSED, _sentence(trouble)) from None
        if self._outgoing is not None and self._outgoing.refusals:
            raise Stopped(Exit.REFUSED, "送れなかったものがあります。「エラー」のフォルダの 理由.txt を見てください。")

    def forever(self) -> None:
        """Turn after turn until Ctrl-C or SIGTERM."""
        signal.signal(signal.SIGTERM, _interrupt)
        self._tell("watching", "見張りを始めました。Ctrl-Cで止まります。")
        pause = LOOK_SECONDS
        try:
            while True:
                pause = LOOK_SECONDS if self._turned() else min(pause * 2, AWAY_SECONDS_MAX)
                # Without an outgoing folder there is nothing to look at until something is pushed.
                self._pushed.wait(ASK_SECONDS if self._outgoing is None and pause == LOOK_SECONDS else pause)
        except KeyboardInterrupt:
            self._tell("stopped", "止めました。")

    def turn(self) -> None:
        """One look at the outgoing folder and, when it is time, at the lists.

        Raises:
            ClientError: the service is away, refuses this office, or the session has ended.
            Unsavable, OSError: a folder cannot be read or written.
        """
        client = self._logged_in()
        now = client.core.clock.monotonic()
        asks = self._pushed.is_set() or now >= self._ask_at
        self._pushed.clear()
        self._ask_at = 0.0 if asks else self._ask_at  # until this turn has succeeded
        if self._outgoing is not None and self._outgoing.turn(client, office_of(client).office.number, follows=asks):
            self._ask_at = min(self._ask_at, now + LOOK_SECONDS)
        if asks:
            if self._incoming is not None:
                self._incoming.turn(client)
            self._ask_at = now + ASK_SECONDS

    def _turned(self) -> bool:
        """A turn that outlives what passes; False when it did not succeed."""
        try:
            self.turn()
        except (ClientError, Unsavable, OSError) as trouble:
            self._note(trouble)
            return False
        if self._listener is None:
            self._listener = threading.Thread(target=self._listen, daemon=True, name="pushes")
            self._listener.start()
        if self._trouble:
            self._trouble = ""
            self._tell("back", "続けます。")
        return True

    def _note(self, trouble: Exception) -> None:
        """Say what is wrong, once; a session that has ended is begun anew in the next turn."""
        if exit_code(trouble) is Exit.NOT_LOGGED_IN:
            if self._doors.open_again and isinstance(trouble, ApiError):
                raise trouble  # these logins are wrong: trying them again and again would lock them
            self.close()
        sentence = _sentence(trouble)
        if sentence != self._trouble:
            self._trouble = sentence
            self._tell("waiting", sentence)

    def _logged_in(self) -> Client:
        """The client, of the office that the folders belong to."""
        if self._client is None:
            client = self._doors.logged_in()
            try:
                for folder in self._watched:
                    folder.claim(Owner(office=office_of(client).office.number, url=client.core.url))
            except BaseException:
                client.close()
                raise
            self._client = client
        return self._client

    def _listen(self) -> None:
        """Wake the loop for each push; the lists say what it was."""
        while True:
            with contextlib.suppress(ClientError, Stopped), self._doors.client() as client:
                for _ in client.stream():
                    self._pushed.set()
            threading.Event().wait(ASK_SECONDS)


def _sentence(trouble: Exception) -> str:
    return f"フォルダを使えません: {trouble.strerror}" if isinstance(trouble, OSError) else sentence_of(trouble)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt
