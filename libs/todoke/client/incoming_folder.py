"""The incoming side of `todoke watch`: every message, once, as a folder that appears whole.

A message is written beside, synced and noted; only then its receipt is sent, and only with the receipt in hand its
folder gets its name. So another program never sees half of a message, nor one that its sender has taken back meanwhile,
and a run that is killed at any moment is finished by the next one: nothing is lost, nothing appears twice.
"""

import contextlib
import shutil
from pathlib import Path
from uuid import UUID

from todoke.client.desk import Tell
from todoke.client.drivers import Client
from todoke.client.errors import ApiError, HashMismatch
from todoke.client.saving import TEXT_NAME, safe_name, save, sync_folder, unused
from todoke.client.shapes import Item, Message, Shape, Stub
from todoke.client.watched_folder import Unwatchable, WatchedFolder

RECEIPT_NAME = "受領証.jws"
"""The signed proof of the download, beside the files that it names."""

ITEM_NAME = "todoke.json"
"""What the list says of the message (an `Item`), for programs."""

PAGE_ITEMS = 50
TRIES_MAX = 3
"""So often a message whose bytes are not what they should be is asked for before the ones after it go on."""

GONE = frozenset({404, 409, 410})
"""Recalled, expired or erased while we were at it: nothing is there to be had any more."""


class Position(Shape):
    """A note: every message up to this delivery number is here, noted as arriving, or was skipped for a reason."""

    delivery_no: int
    message_id: str | None = None
    missed: tuple[str, ...] = ()
    """Messages whose content could not be had: they are asked for again in each run."""


class Arriving(Shape):
    """A note: this message lies whole in its folder beside, and waits for its receipt and its name."""

    message_id: UUID
    delivery_no: int
    folder: str
    hashes: tuple[str, ...]
    sender: str


class IncomingFolder:
    """Fills a folder with what an office receives."""

    def __init__(self, folder: WatchedFolder, since: int, tell: Tell) -> None:
        self._folder = folder
        self._beside = folder.state / "arriving"
        self._first = since
        self._announce = tell
        self._is_checked = False

    def turn(self, client: Client) -> None:
        """Finish what an earlier run began, then fetch what is new, in the order of delivery.

        Raises:
            ClientError: the service is away, or the session has ended; the next turn goes on where this one stopped.
            Unsavable: the disk is full, or the like.
            Unwatchable: the service counts anew: this folder belongs to what was there before.
        """
        position = self._position()
        if not self._is_checked:
            self._require_same_count(client, position)
            self._sweep()
            self._is_checked = True
            for message_id in position.missed:
                self._ask_again(client, message_id)
        for arriving in self._folder.notes("arriving", Arriving).values():
            self._pass(arriving.delivery_no, arriving.message_id)
            self._publish(client, arriving)
        while items := client.received_since(self._position().delivery_no, PAGE_ITEMS):
            for item in items:
                self._take(client, item)

    def _position(self) -> Position:
        return self._folder.note("position", Position) or Position(delivery_no=self._first)

    def _require_same_count(self, client: Client, position: Position) -> None:
        """See that the message at our position is still the one that was there."""
        if position.message_id is None:
            return
        found = client.received_since(position.delivery_no - 1, 1)
        if not found or str(found[0].message_id) != position.message_id:
            raise Unwatchable(
                f"配信番号 {position.delivery_no} が前回と違います。サービスが作り直されたようです。"
                f"管理者に確かめて、新しい受信フォルダを指定してください: {self._folder.root}"
            )

    def _sweep(self) -> None:
        """Remove what a killed run left unfinished: it is fetched again."""
        whole = self._folder.notes("arriving", Arriving)
        for path in self._beside.glob("*/"):
            if path.name not in whole:
                shutil.rmtree(path)

    def _take(self, client: Client, item: Item | Stub) -> None:
        """Fetch one message, note it and move the position past it."""
        if item.delivery_no is None:
            raise Unwatchable("一覧に配信番号がありません。宛先を確かめてください。")
        number, arriving, missed = item.delivery_no, None, False
        if isinstance(item, Item):
            try:
                arriving = self._fetch(client, item, number)
            except HashMismatch:
                missed = True
                self._tell("missed", f"中身を取り出せません（E-405）。あとで、もう一度試します: {number}", item)
        else:
            self._tell("skipped", f"取り消しや期限切れのため、取得しません: {number}", item)
        self._pass(number, item.message_id, missed=missed)
        if arriving is not None:
            self._publish(client, arriving)

    def _pass(self, number: int, message_id: UUID, *, missed: bool = False) -> None:
        """Move the position to this message, if it is not past it already."""
        before = self._position()
        if number > before.delivery_no:
            more = (str(message_id),) if missed else ()
            after = Position(delivery_no=number, message_id=str(message_id), missed=before.missed + more)
            self._folder.keep("position", after)

    def _tell(self, event: str, sentence: str, item: Item | Stub) -> None:
        self._announce(event, sentence, message_id=str(item.message_id), delivery_no=item.delivery_no)

    def _fetch(self, client: Client, item: Item, number: int) -> Arriving | None:
        """Write a message beside, durably, and note that it is whole; None when nothing is there to be had.

        Raises `HashMismatch` when its content is damaged at the service.
        """
        name = f"{number:08d}"
        known = self._folder.note(f"arriving/{name}", Arriving)
        if known is not None:  # an earlier run was killed between this note and the position
            return known
        place = self._beside / name
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(place)
        try:
            for file in item.files:
                save(place, safe_name(file.name, file.n), _content(client, item, file.n, file.sha256))
        except ApiError as refused:
            if refused.status not in GONE:
                raise
            self._tell("skipped", f"もう取得できません（{refused.title}）: {number}", item)
            return None
        if item.text:
            save(place, TEXT_NAME, item.text.encode())
        told = Item.model_validate(item.model_dump())  # a `Message` says more, which changes
        save(place, ITEM_NAME, told.model_dump_json(indent=2).encode())
        sync_folder(self._beside)
        arriving = Arriving(
            message_id=item.message_id,
            delivery_no=number,
            folder=safe_name(f"{number:08d}_{item.sequence}_{item.sender.number}", number),
            hashes=tuple(file.sha256 or "" for file in item.files),
            sender=f"{item.sender.name}（{item.sender.number}）",
        )
        self._folder.keep(f"arriving/{name}", arriving)
        return arriving

    def _publish(self, client: Client, arriving: Arriving) -> None:
        """Send the receipt of a message that lies here whole, and give its folder the name that others look for."""
        name = f"{arriving.delivery_no:08d}"
        place = self._beside / name
        if place.is_dir():  # else it has its name already, and only the note was left
            try:
                receipt = client.receipt(arriving.message_id, arriving.hashes).receipt
            except ApiError as refused:
                if refused.status not in GONE or refused.code == "TDK-HASH-MISMATCH":
                    raise
                told = f"受け取る前に取り消されたか、期限が切れました: {arriving.sender}"
                self._announce("skipped", told, message_id=str(arriving.message_id), delivery_no=arriving.delivery_no)
                shutil.rmtree(place)
            else:
                self._name(place, receipt, arriving)
        self._folder.forget(f"arriving/{name}")

    def _name(self, place: Path, receipt: str, arriving: Arriving) -> None:
        self._folder.write(place / RECEIPT_NAME, receipt)
        target = unused(self._folder.root / arriving.folder)
        place.rename(target)
        sync_folder(self._folder.root)
        self._announce(
            "received",
            f"受け取りました: {arriving.sender} → {target.name}",
            message_id=str(arriving.message_id),
            delivery_no=arriving.delivery_no,
            folder=target.name,
        )

    def _ask_again(self, client: Client, message_id: str) -> None:
        """Try once more for a message whose content could not be had."""
        message: Message = client.message(message_id)
        with contextlib.suppress(HashMismatch):
            if message.delivery_no is not None and not message.erased:
                self._fetch(client, message, message.delivery_no)
            position = self._position()
            missed = tuple(one for one in position.missed if one != message_id)
            self._folder.keep("position", position.model_copy(update={"missed": missed}))


def _content(client: Client, item: Item, n: int, sha256: str | None) -> bytes:
    """The bytes of a file, checked; damage may come from the line, so it is asked for more than once."""
    for attempt in range(1, TRIES_MAX + 1):
        try:
            return client.fetch_file(item.message_id, n, sha256)
        except HashMismatch:
            if attempt == TRIES_MAX:
                raise
        except ApiError as refused:
            if refused.code != "TDK-CONTENT-DAMAGED":
                raise
            raise HashMismatch(f"file {n} of {item.message_id}") from refused
    raise AssertionError("unreachable")
