"""`todoke watch`: what lies in a folder is sent once, what arrives appears once, whenever it is killed."""

import fcntl
import json
import os
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from todoke.client import Patience, watched_folder
from todoke.client.outgoing_scan import INCOMPLETE_SECONDS_MAX

PLAN = "UPPLAN_202509_9970100018_43_9970100117_11_20250901120000.CSV"
ANNEX = "UPSIKYU_202509_9970100018_43_9970100117_11_20250901120000.CSV"
SUPPLEMENT = "UPHOSOKU_202509_9970100018_43_9970100117_11_20250901120000.CSV"
OTHER_OFFICE = PLAN.replace("9970100018", "9970100315")
FINDING = {
    "code": "TDK-X",
    "number": "E-225",
    "severity": "error",
    "file": PLAN,
    "row": 3,
    "column": 7,
    "column_name": "利用者名",
    "message": "空です。",
    "advice": "入力してください。",
}
SENT = "送信済み/20250901120000_9970100018"  # the counter answers with its own office as recipient
KILLED = 9


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An outgoing folder with one message of three files."""
    folder = tmp_path / "out"
    folder.mkdir()
    for name in (PLAN, ANNEX, SUPPLEMENT):
        (folder / name).write_bytes(name[:6].encode())
    return folder


def once(run: Any, *arguments: str | Path) -> Any:
    return run("watch", "--once", "--settle", "0", *arguments)


def lying(folder: Path) -> list[str]:
    """Every file that others see, by its path in the folder."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in paths if not path.parts[0].startswith("."))


def notes(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ".todoke").rglob("*.json"))


# --- outgoing -----------------------------------------------------------------------------------------------------


def test_what_is_sent_is_put_away_with_its_proof(logged_in: Any, counter: Any, out: Path) -> None:
    assert once(logged_in, "--out", out).exit_code == 0
    assert [[name for name, _ in files] for files in counter.sent_files] == [[SUPPLEMENT, PLAN, ANNEX]]
    assert lying(out) == sorted([f"{SENT}/{name}" for name in (PLAN, ANNEX, SUPPLEMENT, "受付証.jws")])
    once(logged_in, "--out", out)  # sees that it was delivered
    assert notes(out) == ["owner.json"]
    assert len(counter.sent_files) == 1


def test_the_same_files_again_are_not_sent_again(logged_in: Any, counter: Any, out: Path) -> None:
    once(logged_in, "--out", out)
    for name in (PLAN, ANNEX, SUPPLEMENT):
        (out / name).write_bytes(name[:6].encode())
    result = logged_in("watch", "--once", "--settle", "0", "--out", out, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout.splitlines()[-1])["event"] == "already_sent"
    assert len(counter.sent_files) == 1


def test_half_a_message_waits(logged_in: Any, counter: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (out / ANNEX).rename(out / f"{ANNEX}.part")
    assert once(logged_in, "--out", out).exit_code == 0
    (out / f"{ANNEX}.part").unlink()
    assert once(logged_in, "--out", out).exit_code == 0  # a kind of its sending unit is missing
    assert counter.sent_files == []
    monkeypatch.setattr("todoke.client.outgoing_scan.INCOMPLETE_SECONDS_MAX", 0.0)
    assert once(logged_in, "--out", out).exit_code == 0  # nobody completes it any more: it is judged as it is
    assert len(counter.sent_files) == 1
    assert INCOMPLETE_SECONDS_MAX > 60


def test_files_that_still_change_wait(logged_in: Any, counter: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def growing(*_: object) -> bool:
        with (out / PLAN).open("ab") as file:
            file.write(b"more")
        return False

    monkeypatch.setattr("threading.Event.wait", growing)
    assert logged_in("watch", "--once", "--settle", "0.001", "--out", out).exit_code == 0
    assert counter.sent_files == []
    assert PLAN in lying(out)


def test_a_file_that_is_replaced_while_it_is_sent_stays(
    logged_in: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = httpx.Client.request

    def replacing(self: httpx.Client, method: str, url: str, **arguments: Any) -> httpx.Response:
        answer = request(self, method, url, **arguments)
        if url == "/v1/messages":
            (out / PLAN).write_bytes(b"another plan")
        return answer

    monkeypatch.setattr(httpx.Client, "request", replacing)
    assert once(logged_in, "--out", out).exit_code == 0
    assert (out / PLAN).read_bytes() == b"another plan"
    assert f"{SENT}/{ANNEX}" in lying(out)


def test_findings_put_it_to_those_in_trouble_with_the_reason(logged_in: Any, counter: Any, out: Path) -> None:
    counter.findings = [FINDING]
    result = once(logged_in, "--out", out)
    assert result.exit_code == 1
    assert counter.sent_files == []
    trouble = out / "エラー" / "20250901120000_9970100117"
    assert {path.name for path in trouble.iterdir()} == {PLAN, ANNEX, SUPPLEMENT, "理由.txt"}
    for word in ("利用者名", "3行目", "空です。", "入力してください。", "E-225"):
        assert word in (trouble / "理由.txt").read_text()
    counter.findings = []
    trouble.rename(out / "直したもの")  # the whole folder comes back, with the reason still in it
    assert once(logged_in, "--out", out).exit_code == 0
    assert [[name for name, _ in files] for files in counter.sent_files] == [[SUPPLEMENT, PLAN, ANNEX]]


def test_a_refusal_of_the_send_is_told_too(logged_in: Any, counter: Any, out: Path) -> None:
    counter.refusal = {
        "title": "送信済みです。",
        "detail": "",
        "status": 409,
        "code": "TDK-SEQUENCE-USED",
        "number": "E-211",
    }
    assert once(logged_in, "--out", out).exit_code == 1
    assert "E-211" in (out / "エラー" / "20250901120000_9970100117" / "理由.txt").read_text()


def test_a_rejection_that_comes_later_takes_the_files_out_of_the_sent_ones(
    logged_in: Any, counter: Any, out: Path
) -> None:
    once(logged_in, "--out", out)
    [row] = counter.messages.values()
    row |= {"status": "submitted"}
    assert once(logged_in, "--out", out).exit_code == 0
    assert lying(out)[0].startswith(SENT)
    row |= {"status": "rejected", "findings": {"errors": 1, "warnings": 0}}
    counter.findings = [FINDING]
    assert once(logged_in, "--out", out).exit_code == 1
    trouble = out / "エラー" / "20250901120000_9970100018"
    assert "空です。" in (trouble / "理由.txt").read_text()
    assert (trouble / PLAN).exists()
    assert not (out / SENT).exists()
    assert notes(out) == ["owner.json"]


def test_what_was_taken_back_and_comes_again_is_not_passed_over_in_silence(
    logged_in: Any, counter: Any, out: Path
) -> None:
    once(logged_in, "--out", out)
    for row in counter.messages.values():
        row["status"] = "recalled"
    (out / SENT).rename(out / "もう一度")
    once(logged_in, "--out", out)
    assert once(logged_in, "--out", out).exit_code == 1
    assert "--allow-resend" in (out / "エラー" / "20250901120000_9970100018" / "理由.txt").read_text()


def test_a_wrong_name_is_refused_alone(logged_in: Any, counter: Any, out: Path) -> None:
    (out / OTHER_OFFICE).write_bytes(b"x")
    (out / "UPPLAN_broken.CSV").write_bytes(b"x")
    assert once(logged_in, "--out", out).exit_code == 1
    assert len(counter.sent_files) == 1
    reasons = "".join(path.read_text() for path in (out / "エラー").rglob("理由.txt"))
    assert "E-201" in reasons
    assert "E-202" in reasons


def test_attachments_go_with_the_message_of_their_folder_or_to_the_office_it_names(
    logged_in: Any, counter: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "9970100117").mkdir(parents=True)
    (out / "9970100117" / "地図.pdf").write_bytes(b"%PDF")
    (out / "9970100117" / "メッセージ.txt").write_bytes("よろしく\r\n".encode("cp932"))
    (out / "組").mkdir()
    for name in (PLAN, ANNEX, SUPPLEMENT):
        (out / "組" / name).write_bytes(b"x")
    (out / "組" / "写真.jpg").write_bytes(b"jpg")
    assert once(logged_in, "--out", out).exit_code == 0
    assert [[name for name, _ in files] for files in counter.sent_files] == [
        [SUPPLEMENT, PLAN, ANNEX, "写真.jpg"],
        ["地図.pdf"],
    ]
    assert [row["text"] for row in counter.messages.values()] == [None, "よろしく"]


def test_a_zip_is_a_parcel_of_its_own(logged_in: Any, counter: Any, out: Path) -> None:
    with zipfile.ZipFile(out / "九月.zip", "w") as archive:
        archive.writestr(PLAN.replace("120000", "130000"), b"plan")
    (out / "壊れた.zip").write_bytes(b"PK\x03\x04")
    assert once(logged_in, "--out", out).exit_code == 1
    assert len(counter.sent_files) == 2
    assert "送信済み/20250901130000_9970100018/九月.zip" in lying(out)
    assert "エラー/壊れた.zip/壊れた.zip" in lying(out)


def test_a_zip_of_which_a_part_is_refused_says_what_was_sent(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    refused = PLAN.replace("120000", "130000")
    counter.refused_names = {refused}
    with zipfile.ZipFile(out / "九月.zip", "w") as archive:
        archive.writestr(PLAN, b"plan")
        archive.writestr(refused, b"other")
    assert once(logged_in, "--out", out).exit_code == 1
    assert len(counter.sent_files) == 1
    reason = next(out.rglob("理由.txt")).read_text()
    assert "送信しました: 20250901120000" in reason
    assert "何も届いていません" not in reason


@pytest.mark.parametrize("status", [403, 503])
def test_what_is_not_the_files_fault_leaves_them_where_they_are(
    logged_in: Any, counter: Any, out: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    counter.refusal = {"title": "期限が過ぎました。", "detail": "", "status": status, "code": "TDK-NO-LICENCE"}
    before = lying(out)
    monkeypatch.setattr("todoke.client.watch_command.PATIENCE", Patience(seconds=0.2))
    assert once(logged_in, "--out", out).exit_code == (1 if status == 403 else 4)
    assert lying(out) == before


# --- incoming -----------------------------------------------------------------------------------------------------


def test_each_message_appears_once_as_a_whole_folder(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    into = tmp_path / "in"
    first = counter.deliver((PLAN, b"plan"), ("../con.pdf", b"%PDF"), text="よろしく")
    counter.deliver((PLAN, b"other"), status="recalled")
    assert once(logged_in, "--in", into).exit_code == 0
    counter.deliver((ANNEX, b"annex"))
    assert once(logged_in, "--in", into).exit_code == 0
    assert once(logged_in, "--in", into).exit_code == 0
    names = [
        "00000001_20250901120001_9970100117",
        "00000002_20250901120002_9970100117",
        "00000003_20250901120003_9970100117",
    ]
    assert sorted({path.split("/")[0] for path in lying(into)}) == names
    assert lying(into)[:5] == [
        f"{names[0]}/{name}" for name in sorted([PLAN, "_con.pdf", "todoke.json", "メッセージ.txt", "受領証.jws"])
    ]
    assert json.loads((into / names[0] / "todoke.json").read_text())["message_id"] == first
    assert len(counter.receipts) == 3


def test_a_folder_of_that_name_is_never_touched(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    mine = tmp_path / "in" / "00000001_20250901120001_9970100117"
    mine.mkdir(parents=True)
    counter.deliver((PLAN, b"theirs"))
    assert once(logged_in, "--in", tmp_path / "in").exit_code == 0
    assert list(mine.iterdir()) == []
    assert (tmp_path / "in" / f"{mine.name} (2)" / PLAN).read_bytes() == b"theirs"


def test_damaged_content_is_not_confirmed_and_asked_for_again(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    counter.deliver((PLAN, b"plan"))
    counter.corrupt = True
    assert once(logged_in, "--in", tmp_path / "in").exit_code == 0
    assert counter.receipts == {}
    counter.corrupt = False
    counter.deliver((ANNEX, b"annex"))  # the ones after it do not wait for it
    assert once(logged_in, "--in", tmp_path / "in").exit_code == 0
    assert len(counter.receipts) == 2
    assert len([path for path in lying(tmp_path / "in") if path.endswith(".CSV")]) == 2


def test_a_service_that_counts_anew_stops_it(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    counter.deliver((PLAN, b"plan"))
    once(logged_in, "--in", tmp_path / "in")
    counter.messages.clear()
    result = once(logged_in, "--in", tmp_path / "in")
    assert result.exit_code == 1
    assert "配信番号" in result.stderr


def test_it_begins_after_the_number_that_is_said(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    for _ in range(3):
        counter.deliver((PLAN, b"plan"))
    assert once(logged_in, "--in", tmp_path / "in", "--since", "2").exit_code == 0
    assert len(counter.receipts) == 1


# --- both ---------------------------------------------------------------------------------------------------------


def test_a_second_watcher_is_refused_with_a_sentence(logged_in: Any, out: Path) -> None:
    (out / ".todoke").mkdir()
    with (out / ".todoke" / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = once(logged_in, "--out", out)
    assert result.exit_code == 1
    assert "別の todoke watch" in result.stderr
    assert once(logged_in, "--out", out).exit_code == 0


def test_a_folder_of_another_office_is_refused(logged_in: Any, counter: Any, out: Path) -> None:
    once(logged_in, "--out", out)
    counter.office["number"] = "9970100315"
    logged_in("login", "--c-id", "c1", "--kj-id", "KJ1")
    result = once(logged_in, "--out", out)
    assert result.exit_code == 1
    assert "9970100018" in result.stderr


def test_folders_must_be_named_and_apart(logged_in: Any, out: Path) -> None:
    assert once(logged_in).exit_code == 2
    assert once(logged_in, "--out", out, "--in", out).exit_code == 2
    assert once(logged_in, "--out", out, "--in", out / "in").exit_code == 2


def test_without_a_login_it_says_so(run: Any, out: Path) -> None:
    assert once(run, "--out", out).exit_code == 3


def test_it_logs_in_by_itself(run: Any, counter: Any, out: Path, tmp_path: Path) -> None:
    assert once(run, "--out", out, "--c-id", "c1", "--kj-id", "KJ1").exit_code == 0
    assert len(counter.sent_files) == 1
    assert not (tmp_path / "config" / "session.json").exists()


# --- killed at any moment -----------------------------------------------------------------------------------------


def steps_of(
    run: Any, option: str, folder: Path, stop_at: int | None, meanwhile: Callable[[], None] | None = None
) -> int:
    """Watch once in a child that is killed before its n-th step, as by kill -9; answers the steps it came to.

    With something to do `meanwhile` it stands there until that is done, and then goes on.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        steps = 0

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def step(*arguments: Any, **named: Any) -> Any:
                nonlocal steps
                steps += 1
                if steps == stop_at:
                    if meanwhile is None:
                        os._exit(KILLED)
                    signal.raise_signal(signal.SIGSTOP)
                return call(*arguments, **named)

            return step

        for name in ("fsync", "rename", "replace", "link", "unlink", "mkdir", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        httpx.Client.request = counted(httpx.Client.request)  # type: ignore[method-assign]
        try:
            code = once(run, option, folder).exit_code
            os.write(writing, str(steps).encode())
        except BaseException:  # noqa: BLE001 (the child of a test must not go on as a second test run)
            code = 70
        os._exit(code)
    os.close(writing)
    if meanwhile is not None:
        assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
        meanwhile()
        os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    if meanwhile is None:
        assert os.waitstatus_to_exitcode(status) == (0 if stop_at is None else KILLED)
    else:  # 1: what it was about to touch had gone; the next look finds nothing left to do
        assert os.waitstatus_to_exitcode(status) in (0, 1)
    return int(told) if told else 0


def filled(folder: Path) -> Path:
    """An outgoing folder with a message that no other one has."""
    folder.mkdir()
    for name in (PLAN, ANNEX, SUPPLEMENT):
        (folder / name).write_bytes(f"{folder.name} {name}".encode())
    return folder


@pytest.mark.timeout(120)
def test_two_watchers_that_see_no_lock_of_each_other_send_once(
    logged_in: Any, counter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stands before each of its steps while the other does all its work."""
    monkeypatch.setattr(watched_folder, "_take", lambda _: None)
    steps = steps_of(logged_in, "--out", filled(tmp_path / "out-0"), None)
    for n in range(1, steps + 1):
        out = filled(tmp_path / f"out-{n}")
        counter.sent_files.clear()
        steps_of(logged_in, "--out", out, n, lambda out=out: once(logged_in, "--out", out))  # type: ignore[misc]
        assert once(logged_in, "--out", out).exit_code == 0, n
        assert [[name for name, _ in files] for files in counter.sent_files] == [[SUPPLEMENT, PLAN, ANNEX]], n
        assert all(path.startswith("送信済み/") for path in lying(out)), (n, lying(out))
        names = sorted(name for path in lying(out) if (name := Path(path).name) != "受付証.jws")
        assert names == sorted([PLAN, ANNEX, SUPPLEMENT]), n


@pytest.mark.timeout(120)
def test_sending_may_be_killed_before_any_of_its_steps(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    def fill(n: int) -> Path:
        return filled(tmp_path / f"out-{n}")

    steps = steps_of(logged_in, "--out", fill(0), None)
    assert steps > 20
    for n in range(1, steps + 1):
        out = fill(n)
        counter.sent_files.clear()
        steps_of(logged_in, "--out", out, n)
        assert once(logged_in, "--out", out).exit_code == 0, n
        assert once(logged_in, "--out", out).exit_code == 0, n
        assert [[name for name, _ in files] for files in counter.sent_files] == [[SUPPLEMENT, PLAN, ANNEX]], n
        put_away = {Path(path).name for path in lying(out)}
        assert put_away == {PLAN, ANNEX, SUPPLEMENT, "受付証.jws"}, n
        assert all(path.startswith("送信済み/") for path in lying(out)), n
        assert notes(out) == ["owner.json"], n


@pytest.mark.timeout(120)
def test_receiving_may_be_killed_before_any_of_its_steps(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    counter.deliver((PLAN, b"plan"), ("地図.pdf", b"%PDF"), text="よろしく")
    counter.deliver((ANNEX, b"annex"))
    steps = steps_of(logged_in, "--in", tmp_path / "in-0", None)
    assert steps > 20
    for n in range(1, steps + 1):
        into, taken = tmp_path / f"in-{n}", tmp_path / f"taken-{n}"
        taken.mkdir()
        counter.receipts.clear()
        steps_of(logged_in, "--in", into, n)
        for folder in into.glob("0*"):  # another program takes at once what it finds, and what it finds is whole
            assert (folder / "todoke.json").exists(), n
            assert (folder / "受領証.jws").exists(), n
            folder.rename(taken / folder.name)
        assert once(logged_in, "--in", into).exit_code == 0, n
        both = sorted(folder.name for place in (into, taken) for folder in place.glob("0*"))
        assert both == ["00000001_20250901120001_9970100117", "00000002_20250901120002_9970100117"], n
        assert notes(into) == ["owner.json", "position.json"], n
        assert len(counter.receipts) == 2, n
