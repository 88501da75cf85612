"""Files, folders and ZIPs read for sending: hostile ones stop early, old ones keep their names."""

import zipfile
from pathlib import Path

import pytest

from todoke.client import gathering
from todoke.client.gathering import Ungatherable, gather


def zipped(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_places_tell_folders_apart(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one.pdf").write_bytes(b"1")
    (tmp_path / "a" / "b" / "two.pdf").write_bytes(b"2")
    found = {one.upload.name: one.place for one in gather([tmp_path / "a", tmp_path / "a" / "one.pdf"])}
    assert found["two.pdf"] != str(tmp_path / "a")


def test_what_systems_leave_behind_is_passed_over(tmp_path: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "._x.pdf", "real.pdf"):
        (tmp_path / name).write_bytes(b"x")
    assert [one.upload.name for one in gather([tmp_path])] == ["real.pdf"]
    path = zipped(tmp_path / "mac.zip", **{"__MACOSX/._a.pdf": b"x", "a.pdf": b"y"})
    assert [one.upload.name for one in gather([path])] == ["a.pdf"]


def test_a_bomb_stops_at_the_bound_whatever_its_header_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "FILE_BYTES_MAX", 10_000)
    path = zipped(tmp_path / "bomb.zip", **{"a.pdf": bytes(50_000_000)})
    with pytest.raises(Ungatherable, match="大きすぎる"):
        gather([path])


def test_many_small_files_stop_at_the_bound_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "TOTAL_BYTES_MAX", 250)
    path = zipped(tmp_path / "many.zip", **{f"{n}.pdf": bytes(100) for n in range(3)})
    with pytest.raises(Ungatherable, match="量"):
        gather([path])
    monkeypatch.setattr(gathering, "ENTRIES_MAX", 2)
    with pytest.raises(Ungatherable, match="多すぎ"):
        gather([path])


def test_a_damaged_zip_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(Ungatherable, match="すべて展開"):
        gather([tmp_path / "bad.zip"])
    good = zipped(tmp_path / "good.zip", **{"a.pdf": b"abc" * 1000}).read_bytes()
    (tmp_path / "crc.zip").write_bytes(good[:60] + bytes([good[60] ^ 0xFF]) + good[61:])
    with pytest.raises(Ungatherable):
        gather([tmp_path / "crc.zip"])


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "locked.zip", **{"a.pdf": b"abc"})
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(Ungatherable, match="パスワード"):
        gather([path])


def test_names_in_zips_are_plain_whatever_path_they_pretend(tmp_path: Path) -> None:
    path = zipped(tmp_path / "evil.zip", **{"../../etc/a.pdf": b"1", "C:\\x\\b.pdf": b"2"})
    assert sorted(one.upload.name for one in gather([path])) == ["a.pdf", "b.pdf"]


def test_a_name_in_utf_8_without_the_flag_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "mac.zip", **{"Xxxxxx.pdf": b"1"})
    path.write_bytes(path.read_bytes().replace(b"Xxxxxx", "地図".encode()))
    assert [one.upload.name for one in gather([path])] == ["地図.pdf"]


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Ungatherable, match="読めません"):
        gather([tmp_path / "missing.pdf"])
