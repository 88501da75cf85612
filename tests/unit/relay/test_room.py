"""Room on the disk: when little is left, nothing new is taken, until there is room again."""

import shutil
from pathlib import Path

import pytest

from todoke.relay import room
from todoke.relay.problem import Problem
from todoke.relay.room import LOOK_SECONDS, RETRY_SECONDS, Room

UNAVAILABLE = 503


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_at = 0.0

    def monotonic(self) -> float:
        return self.now_at


def test_a_nearly_full_disk_is_a_refusal_until_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    mine = Room(tmp_path, clock)  # type: ignore[arg-type]  # all of the clock that it uses
    mine.require()
    enough = room.FREE_BYTES_MIN
    monkeypatch.setattr(room, "FREE_BYTES_MIN", shutil.disk_usage(tmp_path).total + 1)
    mine.require()  # one look is believed for a moment
    clock.now_at += LOOK_SECONDS + 0.1
    with pytest.raises(Problem) as refused:
        mine.require()
    assert (refused.value.status, refused.value.retry_after) == (UNAVAILABLE, RETRY_SECONDS)
    monkeypatch.setattr(room, "FREE_BYTES_MIN", enough)
    clock.now_at += LOOK_SECONDS + 0.1
    mine.require()


def test_engines_of_somebody_else_have_room_as_far_as_we_know() -> None:
    assert Room(None, Clock()).has_room  # type: ignore[arg-type]  # all of the clock that it uses
