"""The outgoing side of `todoke watch`: whole messages are sent once, put away, followed to their judgement.

A file leaves its place only after a note says where to: a run that is killed between two moves is finished by the next
one, on this machine or on another of the same share, and never takes the rest for a smaller message. What is sent goes
under keys made of its content, so sending it again is harmless.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence

from todoke.client import wording
from todoke.client.desk import Tell, sentence_of
from todoke.client.drivers import Client
from todoke.client.errors import ApiError
from todoke.client.gathering import Ungatherable
from todoke.client.operations import Outgoing
from todoke.client.outgoing_scan import PROOF_END, SENT, TROUBLE, WHY_NAME, Parcel, Scanner, Stamp
from todoke.client.planning import Planned, Unplannable
from todoke.client.posting import BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, is_passing, post
from todoke.client.saving import FOLDER_MODE, safe_name, sync_folder, unused
from todoke.client.shapes import Finding, Item, Shape, Submission
from todoke.client.watched_folder import WatchedFolder

SUBMITTED_NAME = f"受付証{PROOF_END}"
"""The signed proof of the submission, beside the files that it names."""

PAGES_MAX = 5
"""Pages of the send list that are read to follow messages; older ones are asked for one by one."""

FOLLOWED_ALONE_MAX = 20
"""Messages that are asked for one by one in one turn: the service allows 600 requests a minute."""

JUDGED = frozenset({"delivered", "downloaded", "recalled", "expired", "rejected", "undeliverable"})
FAILED = frozenset({"rejected", "undeliverable"})

NOTHING_ARRIVED = "相手には何も届いていません。"
SENT_OF_ZIP = "同じZIPの次の連番は送信しました: {sequences}。もう一度入れても、2回は送られません。"
AGAIN = "直したら、ファイルを送信用のフォルダに、もう一度入れてください。"
WHERE_TO = "添付ファイルだけを送るときは、送り先の事業所番号（10文字）を名前にしたフォルダに入れてください。"
MEANT_AGAIN = (
    "同じ中身のものは、前に送ってあります。もう一度送るときは、介護ソフトで新しい連番で作り直すか、"
    "todoke send --allow-resend を使ってください。"
)


class Moving(Shape):
    """A note: these files, unless they have changed, belong into that folder, with these texts beside them."""

    target: str
    files: tuple[tuple[str, Stamp], ...]
    texts: dict[str, str]
    followed: tuple["Followed", ...] = ()


class Followed(Shape):
    """A note: a message that was sent and is not judged yet, and the folder in which its files lie."""

    message_id: str
    sequence: str
    recipient: str
    folder: str
    replayed: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Ready:
    """A parcel with its messages, read and about to be sent."""

    parcel: Parcel
    planned: tuple[Planned, ...]
    letters: tuple[Outgoing, ...]


class OutgoingFolder:
    """Sends what comes to rest in a folder."""

    def __init__(self, folder: WatchedFolder, settle_seconds: float, tell: Tell) -> None:
        self._folder = folder
        self._root = folder.root
        self._tell = tell
        self._scanner = Scanner(folder.root, settle_seconds)
        self.refusals = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing lay there at the last look."""
        return self._scanner.is_empty

    def turn(self, client: Client, office: str, *, follows: bool) -> bool:
        """Finish what an earlier run began, follow what was sent, then send what has come to rest.

        Args:
            client: logged in.
            office: its number.
            follows: whether to ask what became of messages that were not judged yet.

        Returns:
            Whether something was sent, so that asking soon makes sense.

        Raises:
            ClientError: the service is away, or the session has ended; the next turn goes on where this one stopped.
        """
        for name, moving in self._folder.notes("moving", Moving).items():
            self._carry_out(name, moving)
        if follows:
            self._follow(client)
        clock = client.core.clock
        group: list[_Ready] = []
        sends = False
        for parcel in self._scanner.settled(office, clock.now(), clock.monotonic()):
            ready = self._ready(client, parcel, office)
            if ready is None:
                continue
            if group and not _fits(group, ready):
                self._send(client, group)
                group = []
            group.append(ready)
            sends = True
        self._send(client, group)
        return sends

    def _follow(self, client: Client) -> None:
        """See what became of messages that were not judged yet; a rejected one moves to the others in trouble."""
        waiting = self._folder.notes("following", Followed)
        for item in _states(client, waiting):
            followed = waiting[str(item.message_id)]
            if item.status in FAILED or (followed.replayed and item.status in wording.DEAD_ENDS):
                self._bring_back(client, followed, item)
            if item.status in JUDGED:
                self._folder.forget(f"following/{followed.message_id}")

    def _ready(self, client: Client, parcel: Parcel, office: str) -> _Ready | None:
        """Read and judge a parcel; None when it is not ready, or is refused and put away."""
        try:
            planned = parcel.read(self._root, office)
        except (Ungatherable, Unplannable) as wrong:
            self._refuse(parcel, [str(wrong), *([WHERE_TO] if "E-210" in str(wrong) else []), NOTHING_ARRIVED])
            return None
        if planned is None:
            return None
        lines = [line for one in planned for line in _objections(client, one)]
        if lines:
            self._refuse(parcel, [*lines, NOTHING_ARRIVED], planned)
            return None
        letters = tuple(Outgoing(one.key(office), one.recipient, one.sequence, one.text, one.files) for one in planned)
        return _Ready(parcel, tuple(planned), letters)

    def _send(self, client: Client, group: Sequence[_Ready]) -> None:
        outcomes = post(client, [letter for ready in group for letter in ready.letters])
        for ready in group:
            answers = [next(outcomes) for _ in ready.letters]
            refused = [answer for answer in answers if isinstance(answer, ApiError)]
            for one in filter(is_about_us, refused):
                raise one
            if refused:
                sent = [answer.sequence for answer in answers if isinstance(answer, Submission)]
                rest = [SENT_OF_ZIP.format(sequences="、".join(sent))] if sent else [NOTHING_ARRIVED]
                self._refuse(ready.parcel, [*map(sentence_of, refused), *rest], ready.planned)
            else:
                self._put_away(ready, [answer for answer in answers if isinstance(answer, Submission)])

    def _put_away(self, ready: _Ready, answers: Sequence[Submission]) -> None:
        first = answers[0]
        target = self._target(SENT, f"{first.sequence}_{first.recipient.number}")
        followed = tuple(
            Followed(
                message_id=str(one.message_id),
                sequence=one.sequence,
                recipient=one.recipient.number,
                folder=target,
                replayed=one.replayed,
            )
            for one in answers
        )
        receipts = {
            SUBMITTED_NAME if len(answers) == 1 else f"{one.sequence}_{SUBMITTED_NAME}": one.receipt for one in answers
        }
        self._move(ready.parcel, target, receipts, followed)
        for one in answers:
            told = "送信済みです" if one.replayed else "送信しました"
            self._tell(
                "already_sent" if one.replayed else "sent",
                f"{told}: {one.sequence} → {one.recipient.name}（{one.recipient.number}）",
                message_id=str(one.message_id),
                sequence=one.sequence,
                recipient=one.recipient.number,
                folder=target,
            )

    def _refuse(self, parcel: Parcel, lines: Sequence[str], planned: Sequence[Planned] = ()) -> None:
        """Put a parcel to those in trouble, with the reason beside it."""
        stem = f"{planned[0].sequence}_{planned[0].recipient}" if planned and planned[0].sequence else parcel.order
        target = self._target(TROUBLE, stem)
        self._move(parcel, target, {WHY_NAME: _why(lines)}, ())
        self.refusals += 1
        self._tell("refused", f"送れませんでした: {stem}（{target}/{WHY_NAME} を見てください）", folder=target)

    def _target(self, kind: str, stem: str) -> str:
        taken = {note.target for note in self._folder.notes("moving", Moving).values()}
        path = unused(self._root / kind / safe_name(stem, 0))
        while (target := path.relative_to(self._root).as_posix()) in taken:
            path = unused(path.with_name(f"{path.name}_"))
        return target

    def _move(self, parcel: Parcel, target: str, texts: dict[str, str], followed: tuple[Followed, ...]) -> None:
        files = tuple((path.as_posix(), stamp) for path, stamp in parcel.paths)
        moving = Moving(target=target, files=files, texts=texts, followed=followed)
        name = hashlib.sha256(repr((target, files)).encode()).hexdigest()[:32]
        self._folder.keep(f"moving/{name}", moving)
        self._carry_out(name, moving)

    def _carry_out(self, name: str, moving: Moving) -> None:
        """Do what a note says, from wherever an earlier run stopped."""
        target = self._root / moving.target
        target.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        for text_name, text in moving.texts.items():
            self._folder.write(target / text_name, text)
        for path, stamp in moving.files:
            source = self._root / path
            # A file that has changed since it was read is another file: it stays, and is looked at anew.
            if Stamp.of(source) == stamp and not (target / source.name).exists():
                with contextlib.suppress(FileNotFoundError):  # another machine of this share carries out the same note
                    source.rename(target / source.name)
        sync_folder(target)
        for followed in moving.followed:
            self._folder.keep(f"following/{followed.message_id}", followed)
        self._folder.forget(f"moving/{name}")

    def _bring_back(self, client: Client, followed: Followed, item: Item) -> None:
        """Move the folder of a message that failed after it was sent to those in trouble, with the reason in it."""
        lines = [*_reasons(client, item), NOTHING_ARRIVED] if item.status in FAILED else [MEANT_AGAIN]
        folder = self._root / followed.folder
        if folder.is_dir():  # else an earlier run moved it already, or a person took it away
            self._folder.write(folder / WHY_NAME, _why(lines))
            target = self._root / self._target(TROUBLE, folder.name)
            target.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            folder.rename(target)
            sync_folder(target.parent)
        self.refusals += 1
        self._tell(
            "failed",
            f"お届けできませんでした: {followed.sequence} → {followed.recipient}（{TROUBLE} を見てください）",
            message_id=followed.message_id,
            sequence=followed.sequence,
            recipient=followed.recipient,
            status=item.status,
        )


def _fits(group: Sequence[_Ready], ready: _Ready) -> bool:
    letters = [letter for one in (*group, ready) for letter in one.letters]
    size = sum(len(file.content) for letter in letters for file in letter.files)
    return len(letters) <= BATCH_MESSAGES_MAX and size <= BATCH_BYTES_MAX


def _objections(client: Client, planned: Planned) -> list[str]:
    """What the service finds wrong with a message, as lines for people; nothing when it may go."""
    try:
        verdict = client.check(planned.recipient, planned.sequence, planned.text, planned.files)
    except ApiError as refused:
        if is_passing(refused) or is_about_us(refused):
            raise
        return [sentence_of(refused)]
    return [finding_line(finding) for finding in verdict.findings] if verdict.verdict == "reject" else []


def is_about_us(refused: ApiError) -> bool:
    """True when the office or its user may not do this now (licence, suspension, role): no file is to blame."""
    return refused.status == 403  # noqa: PLR2004 (RFC 9110: Forbidden)


def finding_line(finding: Finding) -> str:
    """A finding as one line: how bad, where, what, what to do, its number."""
    places = [
        finding.file,
        None if finding.row is None else f"{finding.row}行目",
        finding.column_name or (None if finding.column is None else f"{finding.column}列目"),
    ]
    where = " ".join(place for place in places if place)
    head = f"【{wording.SEVERITY[finding.severity]}】{where}"
    return f"{head}: {finding.message}{finding.advice}（{finding.number or finding.code}）"


def _reasons(client: Client, item: Item) -> list[str]:
    lines = [] if item.reason is None else [f"{item.reason.message}（{item.reason.number or item.reason.code}）"]
    if item.findings.errors or item.findings.warnings:
        lines += map(finding_line, client.findings(item.message_id).findings)
    return lines


def _why(lines: Sequence[str]) -> str:
    return "\n".join(["送れませんでした。", "", *lines, "", AGAIN, ""])


def _states(client: Client, waiting: Mapping[str, Followed]) -> Iterator[Item]:
    """How messages stand now: from the first pages of the send list, and the oldest few one by one."""
    missing = dict(waiting)
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        if not missing:
            return
        page = client.sent(cursor, limit=200)
        for item in page.items:
            if missing.pop(str(item.message_id), None) is not None:
                yield item
        cursor = page.next
        if cursor is None:
            break
    for message_id in list(missing)[:FOLLOWED_ALONE_MAX]:
        try:
            yield client.message(message_id)
        except ApiError as refused:
            if refused.status != 404:  # noqa: PLR2004 (not in the lists yet: the next turn finds it)
                raise
