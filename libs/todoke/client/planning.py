"""Found files → messages: what belongs together, to whom it goes, and the key that makes sending it again harmless."""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence

from careplan import PlannedUnit, looks_like_data_name, parse_name, plan_units
from todoke.client.core import Upload
from todoke.client.gathering import Found


class Unplannable(Exception):  # noqa: N818 (named for what the files are)
    """Files that cannot be made into messages; the text is Japanese and says what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Planned:
    """One message to be sent: data files in the order of their names, attachments after them.

    `missing` are the kinds that the nearest sending unit lacks: said in the plan, judged by the check.
    """

    recipient: str
    sequence: str | None
    text: str | None
    files: tuple[Upload, ...]
    missing: tuple[str, ...] = ()

    def key(self, office: str) -> str:
        """The idempotency key of this very message from this office: 64 hexadecimal digits (SHA-256).

        Office, recipient, sequence, text, names and bytes go in: the same message has the same key on any machine.
        """
        digest = hashlib.sha256()
        head = [office, self.recipient, self.sequence or "", self.text or ""]
        for piece in (*head, *(part for file in self.files for part in (file.name, file.content))):
            raw = piece.encode() if isinstance(piece, str) else piece
            digest.update(len(raw).to_bytes(8))
            digest.update(raw)
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller said beside the files."""

    recipient: str | None = None
    sequence: str | None = None
    text: str | None = None


def plan(found: Sequence[Found], wishes: Wishes, office: str) -> list[Planned]:
    """The messages that these files make, in the order of their sequences.

    Data files belong together by sender, recipient and sequence of their names (`careplan.plan_units`). An attachment
    goes with the one message of its folder, or with the only message there is.

    Raises:
        Unplannable: a name breaks the grammar, names another sender, or a file's message cannot be told.
    """
    data = [one for one in found if looks_like_data_name(one.upload.name)]
    attachments = [one for one in found if not looks_like_data_name(one.upload.name)]
    for one in data:
        _require_own_name(one.upload.name, office)
    if not data:
        return [_without_data(attachments, wishes)]
    units = plan_units({one.upload.name for one in data})
    for unit in units:
        _require_agreement(unit, wishes)
    if wishes.text is not None and len(units) > 1:
        raise Unplannable("メッセージの文（--text）は、1通だけを送るときに付けられます。")
    members = [[one for one in data if one.upload.name in unit.names] for unit in units]
    extras = _placed(attachments, members)
    return [
        Planned(unit.recipient_office, unit.sequence, wishes.text, (*_uploads(own), *_uploads(added)), unit.missing)
        for unit, own, added in zip(units, members, extras, strict=True)
    ]


def _require_own_name(name: str, office: str) -> None:
    parsed = parse_name(name)
    if parsed is None:
        raise Unplannable(f"ファイルの名前がきまりと違います: {name}（E-201）")
    if parsed.sender_office != office:
        raise Unplannable(
            f"名前の送信元（{parsed.sender_office}）が、ログイン中の事業所（{office}）と違います: {name}（E-202）"
        )


def _without_data(attachments: Sequence[Found], wishes: Wishes) -> Planned:
    if not attachments and not wishes.text:
        raise Unplannable("送るものがありません。ファイルか --text を指定してください。（E-212）")
    if wishes.recipient is None:
        raise Unplannable("送り先が分かりません。--to で事業所番号を指定してください。（E-210）")
    return Planned(wishes.recipient, wishes.sequence, wishes.text, tuple(_uploads(attachments)))


def _require_agreement(unit: PlannedUnit, wishes: Wishes) -> None:
    if wishes.recipient not in (None, unit.recipient_office):
        raise Unplannable(
            f"--to の番号（{wishes.recipient}）と、ファイルの送り先（{unit.recipient_office}）が違います。（E-206）"
        )
    if wishes.sequence not in (None, unit.sequence):
        raise Unplannable(f"--sequence（{wishes.sequence}）と、ファイルの連番（{unit.sequence}）が違います。（E-205）")


def _placed(attachments: Iterable[Found], messages: Sequence[Sequence[Found]]) -> list[list[Found]]:
    """For each message the attachments that go with it."""
    extras: list[list[Found]] = [[] for _ in messages]
    places = [{member.place for member in members} for members in messages]
    for attachment in attachments:
        here = [n for n, found_in in enumerate(places) if attachment.place in found_in] or list(range(len(messages)))
        if len(here) != 1:
            raise Unplannable(
                f"どの事業所に付けるか分かりません: {attachment.upload.name}。フォルダを分けてください。（E-210）"
            )
        extras[here[0]].append(attachment)
    return extras


def _uploads(found: Iterable[Found]) -> list[Upload]:
    """In the order of their names; a file that was named twice (itself and its folder) stands once."""
    return sorted({one.upload for one in found}, key=lambda upload: (upload.name, upload.content))
