"""Office numbers, insured numbers, service months and sequences as checked types.

Each is a ``str`` that can only hold a well-formed value: building one from anything else raises ``ValueError`` whose
text does not repeat the value (an insured number must not reach a log through an exception).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import ClassVar, Self

_SEQUENCE_SHAPE = "%Y%m%d%H%M%S"
_MONTHS = 12
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FEBRUARY = 2


class _Checked(str):
    """A string with a shape; subclasses give the pattern and the word for it."""

    __slots__ = ()
    pattern: ClassVar[re.Pattern[str]]
    word: ClassVar[str]

    def __new__(cls, value: str) -> Self:
        """Check and wrap ``value``.

        Raises:
            ValueError: the value does not have the shape of this type.
        """
        if not cls.fits(value):
            raise ValueError(f"not {cls.word}")
        return super().__new__(cls, value)

    @classmethod
    def fits(cls, value: str) -> bool:
        """Whether ``value`` has the shape of this type."""
        return cls.pattern.fullmatch(value) is not None


class OfficeNumber(_Checked):
    """事業所番号: ten characters 0-9 A-Z (offices of the municipal programme have a capital in it)."""

    __slots__ = ()
    pattern = re.compile("[0-9A-Z]{10}")
    word = "an office number of ten characters 0-9 A-Z"


class InsuredNumber(_Checked):
    """被保険者番号: ten digits, or H and nine digits for people on public assistance only."""

    __slots__ = ()
    pattern = re.compile("[0-9]{10}|H[0-9]{9}")
    word = "an insured number: ten digits, or H and nine digits"


class ServiceMonth(_Checked):
    """対象年月: a real month, YYYYMM."""

    __slots__ = ()
    pattern = re.compile("(?!0000)[0-9]{4}(?:0[1-9]|1[0-2])")
    word = "a real month YYYYMM"

    @property
    def days(self) -> int:
        """How many days the month has."""
        return days_in_month(self)


class Sequence(_Checked):
    """連番: fourteen digits, the number of a message; meant as YYYYMMDDHHMMSS, but any fourteen digits are read."""

    __slots__ = ()
    pattern = re.compile("[0-9]{14}")
    word = "a sequence of fourteen digits"

    @property
    def is_time(self) -> bool:
        """Whether the digits are a real time of the calendar."""
        return _as_time(self) is not None

    def later(self, seconds: int) -> Sequence:
        """The sequence so many seconds after this one.

        Raises:
            ValueError: this sequence is no real time, or the later one would be after the year 9999.
        """
        start = _as_time(self)
        if start is None:
            raise ValueError("the sequence is no real time, so nothing can be added to it")
        try:
            return Sequence((start + timedelta(seconds=seconds)).strftime(_SEQUENCE_SHAPE).zfill(14))
        except OverflowError as error:
            raise ValueError("the later sequence is beyond the calendar") from error


def _as_time(digits: str) -> datetime | None:
    try:
        return datetime.strptime(digits, _SEQUENCE_SHAPE)  # noqa: DTZ007 - a sequence names no zone
    except ValueError:
        return None


def days_in_month(month: str) -> int:
    """How many days a real month YYYYMM has."""
    year, number = int(month[:4]), int(month[4:6])
    if number == _FEBRUARY and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        return 29
    return _DAYS[number - 1]


@lru_cache(maxsize=4096)
def is_real_day(digits: str) -> bool:
    """Whether ``digits`` is a real day YYYYMMDD."""
    if len(digits) != 8 or not ServiceMonth.fits(digits[:6]) or not (digits.isascii() and digits.isdigit()):  # noqa: PLR2004 - YYYYMMDD
        return False
    return 1 <= int(digits[6:]) <= days_in_month(digits[:6])
