"""What was sealed opens only in the place it was sealed for, and only while its month's key exists."""

import asyncio
import dataclasses
import stat
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoke.relay import seal
from todoke.relay.clock import Ports
from todoke.relay.faults import Transient
from todoke.relay.keyfile import KeyFileRefused
from todoke.relay.seal import Binding, KeyRing, OfficeBinding, RootKey, SealBroken, Sealer
from todoke.relay.testing import ManualClock

IDS = Ports.real().ids
MESSAGE = UUID("0198f2a0-1c00-7000-8000-000000000001")  # 2025-08-28
BINDING = Binding(message_id=MESSAGE, sender="9970100018", recipient="9970100117", epoch="2025-08")
MONTH_KEY = bytes(range(32))


def opened(
    sealed: bytes, *, binding: seal.Bound = BINDING, label: str = "part:1", month_key: bytes = MONTH_KEY
) -> bytes:
    return Sealer(IDS).unseal(sealed, month_key=month_key, binding=binding, label=label)


def sealed(plain: bytes, binding: seal.Bound = BINDING) -> bytes:
    return Sealer(IDS).seal(plain, month_key=MONTH_KEY, binding=binding, label="part:1")


@given(st.binary(max_size=4096))
def test_what_is_sealed_opens_to_the_same_bytes(plain: bytes) -> None:
    box = sealed(plain)
    assert len(box) == len(plain) + seal.OVERHEAD_BYTES
    assert opened(box) == plain


def test_the_same_bytes_sealed_twice_look_different() -> None:
    assert sealed(b"DLTPLAN") != sealed(b"DLTPLAN")


@pytest.mark.parametrize(
    "elsewhere",
    [
        dataclasses.replace(BINDING, message_id=UUID("0198f2a0-1c00-7000-8000-000000000002")),
        dataclasses.replace(BINDING, sender="9970100117"),
        dataclasses.replace(BINDING, recipient="9970100018"),
        dataclasses.replace(BINDING, epoch="2025-09"),
        dataclasses.replace(BINDING, sender="99701000189", recipient="970100117"),
        OfficeBinding(office="9970100018", object_id=MESSAGE, epoch="2025-08"),
    ],
)
def test_sealed_bytes_do_not_open_in_another_place(elsewhere: seal.Bound) -> None:
    box = sealed(b"text")
    with pytest.raises(SealBroken):
        opened(box, binding=elsewhere)


def test_sealed_bytes_do_not_open_under_another_label_or_key() -> None:
    box = sealed(b"text")
    with pytest.raises(SealBroken):
        opened(box, label="part:2")
    with pytest.raises(SealBroken):
        opened(box, month_key=bytes(32))


@given(st.integers(min_value=0, max_value=31), st.integers(min_value=1, max_value=255))
def test_one_changed_byte_anywhere_is_noticed(place: int, change: int) -> None:
    box = bytearray(sealed(b"text"))
    box[place] ^= change
    with pytest.raises(SealBroken):
        opened(bytes(box))


@pytest.mark.parametrize("length", range(seal.OVERHEAD_BYTES))
def test_bytes_too_short_to_be_sealed_are_broken(length: int) -> None:
    with pytest.raises(SealBroken):
        opened(bytes(length))


def test_the_text_of_a_broken_seal_names_nobody() -> None:
    with pytest.raises(SealBroken) as broken:
        opened(sealed(b"text"), label="part:2")
    assert "997010" not in str(broken.value)
    assert str(MESSAGE) not in str(broken.value)


def test_what_an_office_keeps_opens_for_that_office_only() -> None:
    own = OfficeBinding(office="9970100018", object_id=MESSAGE, epoch="2025-08")
    box = sealed(b"draft", own)
    assert opened(box, binding=own) == b"draft"
    with pytest.raises(SealBroken):
        opened(box, binding=dataclasses.replace(own, office="9970100117"))


@pytest.mark.parametrize(
    ("message_id", "epoch"),
    [
        ("0198f2a0-1c00-7000-8000-000000000001", "2025-08"),
        ("018cc251-f3ff-7000-8000-000000000000", "2023-12"),  # 2023-12-31T23:59:59.999Z, in Japan already 2024
        ("018cc251-f400-7000-8000-000000000000", "2024-01"),
    ],
)
def test_the_epoch_is_the_month_in_utc_of_the_ids_own_time(message_id: str, epoch: str) -> None:
    assert seal.epoch_of(UUID(message_id)) == epoch


def test_an_id_that_carries_no_time_has_no_epoch() -> None:
    with pytest.raises(ValueError, match="version 7"):
        seal.epoch_of(UUID("6f0c2f3e-6b7c-4d0e-9a57-7c1d2c0d5b11"))


def test_the_root_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "root.key"
    wrapped = RootKey.load_or_create(path, IDS).wrap(MONTH_KEY, "2025-08")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["root.key"]
    assert RootKey.load_or_create(path, IDS).unwrap(wrapped, "2025-08") == MONTH_KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_root_key_that_others_can_read_is_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "root.key"
    RootKey.load_or_create(path, IDS)
    path.chmod(mode)
    with pytest.raises(KeyFileRefused, match=f"chmod 600 {path}"):
        RootKey.load_or_create(path, IDS)


@pytest.mark.parametrize("content", [b"", b"00", b"z" * 64, b"\xff" * 64, b"00" * 31])
def test_a_file_that_holds_no_root_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "root.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileRefused, match="no root key"):
        RootKey.load_or_create(path, IDS)


def test_a_folder_is_no_key_file(tmp_path: Path) -> None:
    with pytest.raises((KeyFileRefused, IsADirectoryError)):
        RootKey.load_or_create(tmp_path, IDS)


async def test_processes_that_start_at_once_share_one_root_key(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    roots = await asyncio.gather(*(asyncio.to_thread(RootKey.load_or_create, path, IDS) for _ in range(8)))
    wrapped = roots[0].wrap(MONTH_KEY, "2025-08")
    assert {root.unwrap(wrapped, "2025-08") for root in roots} == {MONTH_KEY}


def test_a_wrapped_key_opens_neither_for_another_month_nor_under_another_root() -> None:
    root, other = RootKey(bytes(32), IDS), RootKey(bytes([1] * 32), IDS)
    wrapped = root.wrap(MONTH_KEY, "2025-08")
    with pytest.raises(SealBroken):
        root.unwrap(wrapped, "2025-09")
    with pytest.raises(SealBroken):
        other.unwrap(wrapped, "2025-08")


def ring_over(answers: dict[str, bytes | None], asked: list[str], clock: ManualClock | None = None) -> KeyRing:
    async def source(epoch: str) -> bytes | None:
        asked.append(epoch)
        await asyncio.sleep(0)
        return answers.get(epoch)

    return KeyRing(RootKey(bytes(32), IDS), source, clock or ManualClock())


async def test_a_key_ring_asks_once_for_a_month_however_many_wait() -> None:
    asked: list[str] = []
    ring = ring_over({"2025-08": RootKey(bytes(32), IDS).wrap(MONTH_KEY, "2025-08")}, asked)
    assert await asyncio.gather(*(ring.key("2025-08") for _ in range(20))) == [MONTH_KEY] * 20
    assert asked == ["2025-08"]


async def test_a_key_that_is_not_there_yet_is_asked_for_again() -> None:
    asked: list[str] = []
    answers: dict[str, bytes | None] = {}
    ring = ring_over(answers, asked)
    with pytest.raises(seal.KeyEpochUnknown):
        await ring.key("2025-08")
    answers["2025-08"] = RootKey(bytes(32), IDS).wrap(MONTH_KEY, "2025-08")
    assert await ring.key("2025-08") == MONTH_KEY


async def test_a_destroyed_key_leaves_memory_within_the_hour() -> None:
    clock = ManualClock()
    answers: dict[str, bytes | None] = {"2025-08": RootKey(bytes(32), IDS).wrap(MONTH_KEY, "2025-08")}
    ring = ring_over(answers, [], clock)
    await ring.key("2025-08")
    answers["2025-08"] = seal.DESTROYED
    assert await ring.key("2025-08") == MONTH_KEY
    clock.move(timedelta(seconds=seal.REMEMBERED_SECONDS))
    for _ in range(2):
        with pytest.raises(seal.KeyEpochGone):
            await ring.key("2025-08")


async def test_a_known_key_is_used_on_while_nobody_can_be_asked() -> None:
    clock, wrapped = ManualClock(), RootKey(bytes(32), IDS).wrap(MONTH_KEY, "2025-08")
    away = False

    async def source(_: str) -> bytes:
        if away:
            raise Transient
        return wrapped

    ring = KeyRing(RootKey(bytes(32), IDS), source, clock)
    assert await ring.key("2025-08") == MONTH_KEY
    away = True
    clock.move(timedelta(days=1))
    assert await ring.key("2025-08") == MONTH_KEY
    with pytest.raises(Transient):
        await ring.key("2025-09")


def test_a_commitment_depends_on_salt_and_content() -> None:
    mark = seal.commitment(b"salt", b"plain")
    assert len(mark) == 64
    assert mark == seal.commitment(b"salt", b"plain")
    assert mark not in {seal.commitment(b"tlas", b"plain"), seal.commitment(b"salt", b"plan")}


@pytest.mark.parametrize("parts", [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), (b"abc", "x")])
def test_hashed_keys_keep_the_parts_apart(parts: tuple[str | bytes, ...]) -> None:
    others: list[tuple[str | bytes, ...]] = [("ab", "cd"), ("a", "b", "c"), ("abcd",), ("b", "ac")]
    made = seal.hashed_key(b"secret", *parts)
    assert made not in {seal.hashed_key(b"secret", *other) for other in others}
    assert made != seal.hashed_key(b"other", *parts)
    assert len(made) == 32
