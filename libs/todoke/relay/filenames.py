"""Which file names may travel: names that every office's computer can keep, and that show what they are.

Names are shown and stored, never used as paths here; these rules protect the computers of those who fetch the files.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

NAME_BYTES_MAX: Final = 255
"""Longest name in UTF-8 bytes that the common file systems keep."""

EMPTY: Final = "TDK-FILE-NAME-EMPTY"
PATH: Final = "TDK-FILE-NAME-PATH"
CHARACTER: Final = "TDK-FILE-NAME-CHARACTER"
CONTROL: Final = "TDK-FILE-NAME-CONTROL"
DIRECTION: Final = "TDK-FILE-NAME-DIRECTION"
DEVICE: Final = "TDK-FILE-NAME-DEVICE"
TOO_LONG: Final = "TDK-FILE-NAME-TOO-LONG"
TWICE: Final = "TDK-FILE-NAME-TWICE"
ALIKE: Final = "TDK-FILE-NAME-ALIKE"

_SEPARATORS: Final = frozenset("/\\\u2044\u2215\u29f8\u2216\u29f5\ufe68")
"""Separators of paths, and characters that look like one. (The full-width ／ is common in Japanese names and stays.)"""

_NOT_ON_WINDOWS: Final = frozenset('<>:"|?*')
"""Characters that Windows cannot keep in a name; a colon also opens a hidden second stream of a file."""

_CONTROLS: Final = frozenset({"Cc", "Zl", "Zp"})
"""Control characters and line separators."""

_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the writing direction (UAX 9): the end of a name then reads as another one."""

_UNSEEN: Final = frozenset({"Cf", "Cs", "Co"})
"""Formats that show nothing, lone surrogates, private use (gaiji)."""

_DEVICES: Final = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])", re.IGNORECASE)
"""Names that Windows gives to devices, whatever extension follows."""

_MARKS: Final = frozenset({"Mn", "Me"})

_CYRILLIC: Final = str.maketrans("авекмнорстухіѕјԁһ", "abekmhopctyxisjdh")
_GREEK: Final = str.maketrans("αβεζηικμνορτυχ", "abezhikmnoptyx")
_KANA: Final = str.maketrans("ヘベペニハカロエタトセ", "へべぺ二八力口工夕卜せ")
_DASHES: Final[dict[int, int | str]] = dict.fromkeys(map(ord, "ー一―‐‑‒–—−─━"), "-")
_TWINS: Final[dict[int, int | str]] = {**_CYRILLIC, **_GREEK, **_KANA, **_DASHES}
"""Characters (after case folding) that are easily taken for each other."""


def name_problem(name: str) -> str | None:
    """The code of what is wrong with one name, or None if it is a plain file name."""
    if not name.strip(". \u3000"):
        return EMPTY
    if _walks(name):
        return PATH
    if (unfit := _unfit_character(name)) is not None:
        return unfit
    if name[0] in " ." or name[-1] in " .":  # Windows drops them at the end, others hide what begins with a dot
        return CHARACTER
    if _DEVICES.fullmatch(name.partition(".")[0].rstrip(" ")):
        return DEVICE
    if len(name.encode()) > NAME_BYTES_MAX:
        return TOO_LONG
    return None


def _walks(name: str) -> bool:
    """Whether a separator stands in the name, or would lead upwards once its wide letters are made narrow."""
    if not _SEPARATORS.isdisjoint(name):
        return True
    steps = re.split(r"[/\\]", unicodedata.normalize("NFKC", name))
    return len(steps) > 1 and any(not step.strip(". ") for step in steps)


def _unfit_character(name: str) -> str | None:
    if any(unicodedata.category(character) in _CONTROLS for character in name):
        return CONTROL
    if not _DIRECTIONS.isdisjoint(name):
        return DIRECTION
    return CHARACTER if any(_forbidden(character) for character in name) else None


def _forbidden(character: str) -> bool:
    noncharacter = ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF  # noqa: PLR2004 (the code points of Unicode section 23.7)
    return character in _NOT_ON_WINDOWS or unicodedata.category(character) in _UNSEEN or noncharacter


def name_clashes(names: Sequence[str]) -> dict[int, str]:
    """Which names (by place in the sequence) a person or a file system could take for an earlier one, and how."""
    found: dict[int, str] = {}
    same: set[str] = set()
    alike: set[str] = set()
    for place, name in enumerate(names):
        composed = unicodedata.normalize("NFC", name)
        looks = _look(name)
        if composed in same:
            found[place] = TWICE
        elif looks in alike:
            found[place] = ALIKE
        same.add(composed)
        alike.add(looks)
    return found


def _look(name: str) -> str:
    """What the eye sees of a name: width, case, twins, marks that hardly show and runs of spaces do not count."""
    folded = unicodedata.normalize("NFKC", name).casefold().translate(_TWINS)
    unmarked = "".join(each for each in folded if unicodedata.category(each) not in _MARKS)
    return " ".join(unmarked.split())
