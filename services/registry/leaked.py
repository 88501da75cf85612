"""Passwords that everybody knows: the list of common passwords that Django brings, and what is made of it by repeating.

Django itself is never imported: only its list is read (20,000 passwords of leaks, in lower case).
"""

import functools
import gzip
import unicodedata
from importlib.metadata import distribution

_LIST = "django/contrib/auth/common-passwords.txt.gz"

UNIT_CHARACTERS_MAX = 4
"""A password that repeats so few characters is as good as known, whatever they are."""


def is_known(password: str) -> bool:
    """Whether a password stands on the list, in capitals or not, or repeats one of the list or a few characters."""
    text = unicodedata.normalize("NFKC", password).casefold()
    unit = _repeated(text)
    return text in _listed() or (unit is not None and (len(unit) <= UNIT_CHARACTERS_MAX or unit in _listed()))


def _repeated(text: str) -> str | None:
    """The shortest piece that the text repeats twice and more (the last time perhaps in part), or None."""
    lengths = range(1, len(text) // 2 + 1)
    return next((text[:length] for length in lengths if text.startswith(text[length:])), None)


@functools.cache
def _listed() -> frozenset[str]:
    packed = distribution("django").locate_file(_LIST)
    with gzip.open(str(packed), "rt", encoding="utf-8") as lines:
        return frozenset(line.strip() for line in lines)
