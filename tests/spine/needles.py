"""What must not be found anywhere, in every form in which it could lie there."""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Needles:
    """Byte strings to look for, each with the words that name it in a failure."""

    named: Mapping[bytes, str]

    @classmethod
    def of(cls, words: Iterable[str], wholes: Iterable[bytes]) -> "Needles":
        """Words that stand within a text in any encoding, and whole names, texts and files by their plain hashes."""
        named: dict[bytes, str] = {}
        for word in words:
            named |= {needle: f"{word} in {form}" for form, needle in forms(word)}
        for whole in wholes:
            named |= {needle: f"hash of {whole[:40]!r} in {form}" for form, needle in hashes(whole)}
        return cls(named)

    def find(self, data: bytes) -> list[str]:
        """What of it stands in these bytes."""
        return [name for needle, name in self.named.items() if needle in data]

    def find_in_files(self, folder: Path, leave: Iterable[str] = ()) -> dict[str, list[str]]:
        """What stands in any file below a folder; `leave` names files that are nobody's data."""
        found = {}
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink() and file.name not in leave and (here := self._in_file(file)):
                found[str(file.relative_to(folder))] = here
        return found

    def _in_file(self, file: Path) -> list[str]:
        overlap = max(map(len, self.named))
        found: set[str] = set()
        try:
            with file.open("rb") as handle:
                tail = b""
                while chunk := handle.read(CHUNK):
                    if chunk.strip(b"\0"):  # Kafka sets a hundred sparse files aside
                        found.update(self.find(tail + chunk))
                    tail = chunk[-overlap:]
        except FileNotFoundError:  # an engine removes files of its own while we look
            return []
        return sorted(found)


def forms(word: str) -> Iterator[tuple[str, bytes]]:
    """A word as it could stand inside something longer."""
    for encoding in ("utf-8", "cp932", "utf-16-le"):
        raw = word.encode(encoding)
        yield encoding, raw
        yield f"{encoding} hex", raw.hex().encode()
        yield f"{encoding} HEX", raw.hex().upper().encode()
        for place in range(3):
            yield f"{encoding} base64 at {place}", _inside(base64.b64encode(bytes(place) + raw), place)
            yield f"{encoding} base64url at {place}", _inside(base64.urlsafe_b64encode(bytes(place) + raw), place)
        yield f"{encoding} in a URL", quote(raw).encode()
    yield "JSON escapes", json.dumps(word)[1:-1].encode()
    yield "Python escapes", ascii(word)[1:-1].encode()


def _inside(encoded: bytes, place: int) -> bytes:
    """The characters that depend on the word alone, not on its neighbours."""
    return encoded.rstrip(b"=")[(0, 2, 3)[place] : -1]


def hashes(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """The plain SHA-256 of something, as it could be written down."""
    digest = hashlib.sha256(whole).digest()
    yield "raw", digest
    yield "hex", digest.hex().encode()
    yield "HEX", digest.hex().upper().encode()
    yield "base64", base64.b64encode(digest).rstrip(b"=")[:-1]
    yield "base64url", base64.urlsafe_b64encode(digest).rstrip(b"=")[:-1]
