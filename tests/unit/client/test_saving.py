"""Fetched bytes on disk: names made safe, files whole or absent, nothing ever overwritten."""

import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoke.client import saving
from todoke.client.saving import Unsavable, existing, safe_name, save


@given(st.text(max_size=300))
def test_a_safe_name_is_one_step_of_a_path_and_stays_itself(name: str) -> None:
    safe = safe_name(name, 1)
    assert safe
    assert Path(safe).name == safe
    assert "/" not in safe
    assert "\\" not in safe
    assert not safe.startswith(".")
    assert len(safe.encode()) <= 255
    assert safe_name(safe, 1) == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("UPPLAN_202509.CSV", "UPPLAN_202509.CSV"),
        ("提供票　９月.pdf", "提供票　９月.pdf"),
        ("../../x", "_.._x"),
        ("con.txt", "_con.txt"),
        ("LPT1", "_LPT1"),
        ("a\u202egpj.pdf", "agpj.pdf"),
        ("  .hidden. ", "hidden"),
        ("...", "file-3"),
        (None, "file-3"),
    ],
)
def test_names_as_they_are_saved(name: str | None, safe: str) -> None:
    assert safe_name(name, 3) == safe


def test_the_same_bytes_again_change_nothing_and_other_bytes_stand_beside(tmp_path: Path) -> None:
    first = save(tmp_path / "in", "a.pdf", b"one")
    before = first.stat()
    assert save(tmp_path / "in", "a.pdf", b"one") == first
    assert first.stat().st_mtime_ns == before.st_mtime_ns
    assert save(tmp_path / "in", "a.pdf", b"two").name == "a (2).pdf"
    assert save(tmp_path / "in", "a.pdf", b"two").name == "a (2).pdf"
    assert save(tmp_path / "in", "a.pdf", b"three").name == "a (3).pdf"
    assert first.read_bytes() == b"one"
    assert stat.S_IMODE(first.stat().st_mode) == 0o600


def test_a_long_name_keeps_its_ending_when_it_is_numbered(tmp_path: Path) -> None:
    name = safe_name("字" * 200, 1)[:80] + ".pdf"
    save(tmp_path, name, b"one")
    second = save(tmp_path, name, b"two")
    assert second.name.endswith(" (2).pdf")
    assert len(second.name.encode()) <= 255


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pdf").symlink_to(tmp_path / "elsewhere")
    assert save(tmp_path / "in", "a.pdf", b"mine").name == "a (2).pdf"
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_a_kill_in_the_middle_leaves_no_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, "a.pdf", b"one")
    assert not (tmp_path / "a.pdf").exists()
    (tmp_path / f".todoke-{os.getpid()}.part").write_bytes(b"left by a killed run")
    assert save(tmp_path, "a.pdf", b"one").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a.pdf"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was synced, in order; a draft is not there any more when its name is asked for."""
    seen: list[Path] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        seen.append(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    return seen


def test_a_saved_file_is_durable_with_every_folder_that_was_made_for_it(tmp_path: Path, synced: list[Path]) -> None:
    folder = tmp_path / "in" / "20261101"
    save(folder, "a.pdf", b"one")
    assert {tmp_path, tmp_path / "in", folder} <= set(synced)
    assert folder / f".todoke-{os.getpid()}.part" in synced


def test_what_is_found_again_is_made_durable_before_it_is_believed(tmp_path: Path, synced: list[Path]) -> None:
    folder = tmp_path / "in"
    path = save(folder, "a.pdf", b"one")
    synced.clear()  # as if a kill had come before any of it
    assert existing(folder, "a.pdf", hashlib.sha256(b"one").hexdigest(), 3) == path
    assert synced == [path, folder, tmp_path]
    synced.clear()
    assert save(folder, "a.pdf", b"one") == path
    assert synced == [path, folder, tmp_path]


def test_a_disk_without_hard_links_is_served_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert save(tmp_path, "a.pdf", b"one").name == "a.pdf"
    assert save(tmp_path, "a.pdf", b"two").name == "a (2).pdf"


def test_what_an_earlier_run_saved_is_found_by_its_hash(tmp_path: Path) -> None:
    save(tmp_path, "a.pdf", b"one")
    save(tmp_path, "a.pdf", b"two")
    assert existing(tmp_path, "a.pdf", hashlib.sha256(b"two").hexdigest(), 3) == tmp_path / "a (2).pdf"
    assert existing(tmp_path, "a.pdf", hashlib.sha256(b"six").hexdigest(), 3) is None


def test_too_many_twins_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "TWINS_MAX", 2)
    save(tmp_path, "a.pdf", b"one")
    with pytest.raises(Unsavable):
        save(tmp_path, "a.pdf", b"two")
