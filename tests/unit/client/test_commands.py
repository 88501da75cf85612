"""The command line, from what is typed to what is sent, saved, shown and answered as exit code."""

import functools
import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from todoke.client import Patience

PLAN = "UPPLAN_202509_9970100018_43_9970100117_11_20250901120000.CSV"
ANNEX = "UPSIKYU_202509_9970100018_43_9970100117_11_20250901120000.CSV"
OTHER = "UPPLAN_202509_9970100018_43_9970100216_17_20250901120001.CSV"
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two messages: one in its own folder with a PDF, one lying loose."""
    (tmp_path / "out" / "one").mkdir(parents=True)
    (tmp_path / "out" / "one" / PLAN).write_bytes(b"plan")
    (tmp_path / "out" / "one" / ANNEX).write_bytes(b"annex")
    (tmp_path / "out" / "one" / "地図.pdf").write_bytes(b"%PDF")
    (tmp_path / "out" / OTHER).write_bytes(b"other")
    (tmp_path / "out" / ".DS_Store").write_bytes(b"x")
    return tmp_path / "out"


def document(result: Any) -> Any:
    return json.loads(result.stdout)


def test_login_keeps_the_session_in_a_file_for_its_owner_only(run: Any, tmp_path: Path) -> None:
    result = run("login", "--c-id", "c1", "--kj-id", "KJ1")
    assert result.exit_code == 0
    assert "あおぞら居宅介護支援事業所" in result.stdout
    kept = tmp_path / "config" / "session.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "right" not in kept.read_text()


def test_a_wrong_password_exits_3_and_leaves_the_earlier_login(
    logged_in: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = (tmp_path / "config" / "session.json").read_bytes()
    monkeypatch.setenv("TODOKE_C_PASSWORD", "wrong")
    assert logged_in("login", "--c-id", "c1", "--kj-id", "KJ1").exit_code == 3
    assert (tmp_path / "config" / "session.json").read_bytes() == before


def test_login_reads_the_practice_offices(run: Any, counter: Any, tmp_path: Path) -> None:
    office = {
        "number": "9970100018",
        "name": "甲",
        "c_id": "c1",
        "c_password": "right",
        "kj_id": "KJ",
        "kj_password": "p",
    }
    (tmp_path / "demo.json").write_text(json.dumps({"url": counter.url, "offices": [office]}))
    assert run("login", "--demo", tmp_path, "--office", "9970100018").exit_code == 0
    unknown = run("login", "--demo", tmp_path, "--office", "9970100999")
    assert unknown.exit_code == 2
    assert "9970100018" in unknown.stderr


def test_commands_without_a_login_exit_3(run: Any, folder: Path) -> None:
    assert run("sent").exit_code == 3
    assert run("send", folder, "--yes").exit_code == 3


def test_a_token_is_never_shown_to_another_address(logged_in: Any, counter: Any) -> None:
    asked = len(counter.asked)
    assert logged_in("sent", "--url", "http://127.0.0.1:1").exit_code == 3
    assert len(counter.asked) == asked


def test_a_folder_becomes_messages_and_running_it_again_sends_nothing(
    logged_in: Any, counter: Any, folder: Path
) -> None:
    first = logged_in("send", folder, "--yes", "--json")
    assert first.exit_code == 0, first.stderr
    assert [line["state"] for line in document(first)["messages"]] == ["sent", "sent"]
    assert [[name for name, _ in files] for files in counter.sent_files] == [[PLAN, ANNEX, "地図.pdf"], [OTHER]]
    again = logged_in("send", folder, "--yes", "--json")
    assert again.exit_code == 0
    assert [line["state"] for line in document(again)["messages"]] == ["already_sent", "already_sent"]
    assert len(counter.sent_files) == 2
    assert "送信済み" in logged_in("send", folder, "--yes").stdout


def test_a_resend_is_sent_when_it_is_meant(logged_in: Any, counter: Any, folder: Path) -> None:
    logged_in("send", folder / "one", "--yes")
    assert logged_in("send", folder / "one", "--yes", "--allow-resend").exit_code == 0
    assert len(counter.sent_files) == 2


def test_an_earlier_message_that_was_recalled_is_told_apart(logged_in: Any, counter: Any, folder: Path) -> None:
    logged_in("send", folder / "one", "--yes")
    for message in counter.messages.values():
        message["status"] = "recalled"
    result = logged_in("send", folder / "one", "--yes")
    assert result.exit_code == 1
    assert "--allow-resend" in result.stdout


def test_findings_stop_the_message_and_name_the_place(logged_in: Any, counter: Any, folder: Path) -> None:
    counter.findings = [FINDING]
    result = logged_in("send", folder / "one", "--yes")
    assert result.exit_code == 1
    assert counter.sent_files == []
    for word in ("利用者名", "空です。", "E-225"):
        assert word in result.stdout


def test_check_sends_nothing(logged_in: Any, counter: Any, folder: Path) -> None:
    assert logged_in("check", folder).exit_code == 0
    counter.findings = [FINDING]
    assert logged_in("check", folder).exit_code == 1
    assert counter.sent_files == []


def test_nobody_to_ask_means_yes_must_be_said(logged_in: Any, counter: Any, folder: Path) -> None:
    assert logged_in("send", folder).exit_code == 2
    assert counter.sent_files == []


def test_a_refusal_is_shown_with_its_number(logged_in: Any, counter: Any, folder: Path) -> None:
    counter.refusal = {
        "title": "この組は送信済みです。",
        "detail": "もう一度送るときだけ送ってください。",
        "status": 409,
        "code": "TDK-SEQUENCE-USED",
        "number": "E-211",
    }
    result = logged_in("send", folder / "one", "--yes")
    assert result.exit_code == 1
    assert "E-211" in result.stdout


def test_a_service_that_goes_away_in_the_middle_exits_5_and_the_rest_goes_later(
    logged_in: Any, counter: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todoke.client.posting.BATCH_MESSAGES_MAX", 1)
    counter.away_after = 1
    result = logged_in("send", folder, "--yes", "--json")
    assert result.exit_code == 5
    assert [line["state"] for line in document(result)["messages"]] == ["sent", "not_sent"]
    counter.away_after = None
    assert logged_in("send", folder, "--yes").exit_code == 0
    assert len(counter.sent_files) == 2


def test_a_service_that_is_away_exits_4(logged_in: Any, counter: Any, folder: Path) -> None:
    counter.away_after = 0
    assert logged_in("send", folder, "--yes").exit_code == 4


def test_a_text_alone_needs_a_recipient(logged_in: Any, counter: Any) -> None:
    assert logged_in("send", "--text", "よろしくお願いします", "--yes").exit_code == 2
    assert logged_in("send", "--text", "よろしくお願いします", "--to", "9970100117", "--yes").exit_code == 0
    assert counter.sent_files == [[]]


def test_many_messages_go_in_few_requests_and_in_order(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    out = tmp_path / "many"
    out.mkdir()
    for n in range(60):
        (out / PLAN.replace("20250901120000", f"202509011201{n:02d}")).write_bytes(bytes([n]))
    assert logged_in("send", out, "--yes").exit_code == 0
    assert [content for [(_, content)] in counter.sent_files] == [bytes([n]) for n in range(60)]
    assert len([path for _, path in counter.asked if path == "/v1/batches"]) == 2
    assert [path for _, path in counter.asked if path == "/v1/messages"] == []


def test_one_that_is_refused_does_not_stop_its_batch(logged_in: Any, counter: Any, folder: Path) -> None:
    counter.refused_names = {OTHER}
    result = logged_in("send", folder, "--yes", "--json")
    assert result.exit_code == 5
    assert [line["state"] for line in document(result)["messages"]] == ["sent", "refused"]


def test_a_batch_that_is_refused_whole_goes_one_by_one(logged_in: Any, counter: Any, folder: Path) -> None:
    counter.takes_batches = False
    assert logged_in("send", folder, "--yes").exit_code == 0
    assert len(counter.sent_files) == 2


def test_an_old_zip_of_windows_is_read(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    path = tmp_path / "old.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"plan/{PLAN}", b"plan")
        archive.writestr("plan/Xtizu.pdf", b"%PDF")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"Xtizu", "\u5730\u56f3x".encode("cp932")))
    assert logged_in("send", path, "--yes").exit_code == 0
    assert [name for name, _ in counter.sent_files[0]] == [PLAN, "地図x.pdf"]


def test_names_of_another_sender_are_refused_before_anything_is_asked(logged_in: Any, tmp_path: Path) -> None:
    (tmp_path / PLAN.replace("9970100018", "9970100315")).write_bytes(b"x")
    result = logged_in("send", tmp_path / PLAN.replace("9970100018", "9970100315"), "--yes")
    assert result.exit_code == 2
    assert "E-202" in result.stderr


def test_fetch_saves_every_file_and_then_confirms(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    first = counter.deliver((PLAN, b"plan"), ("地図.pdf", b"%PDF"), text="よろしく")
    second = counter.deliver(text="文だけ")
    result = logged_in("fetch", "--all", "--to", tmp_path / "in", "--json")
    assert result.exit_code == 0, result.stderr
    inbox = tmp_path / "in" / "20250901120001_9970100117"
    assert (inbox / PLAN).read_bytes() == b"plan"
    assert (inbox / "地図.pdf").read_bytes() == b"%PDF"
    assert (inbox / "メッセージ.txt").read_text() == "よろしく"
    assert [file["sha256"] for file in counter.messages[first]["files"]] == counter.receipts[first]
    assert counter.receipts[second] == []
    assert [line["state"] for line in document(result)["messages"]] == ["downloaded", "downloaded"]
    assert not list((tmp_path / "in").rglob("*.part"))


def test_wrong_bytes_are_not_confirmed(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    counter.deliver((PLAN, b"plan"))
    counter.corrupt = True
    result = logged_in("fetch", "--all", "--to", tmp_path / "in")
    assert result.exit_code == 1
    assert counter.receipts == {}
    assert not list((tmp_path / "in").rglob("*.CSV"))


def test_fetch_again_asks_only_for_what_is_missing(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    message_id = counter.deliver((PLAN, b"plan"), (ANNEX, b"annex"))
    logged_in("fetch", message_id, "--to", tmp_path / "in")
    (tmp_path / "in" / "20250901120001_9970100117" / ANNEX).unlink()
    counter.asked.clear()
    assert logged_in("fetch", message_id, "--to", tmp_path / "in").exit_code == 0
    assert [path for _, path in counter.asked if "/files/" in path] == [f"/v1/messages/{message_id}/files/2"]


def test_a_different_file_of_that_name_is_never_overwritten(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    inbox = tmp_path / "in" / "20250901120001_9970100117"
    inbox.mkdir(parents=True)
    (inbox / PLAN).write_bytes(b"mine")
    counter.deliver((PLAN, b"theirs"))
    assert logged_in("fetch", "--all", "--to", tmp_path / "in").exit_code == 0
    assert (inbox / PLAN).read_bytes() == b"mine"
    assert (inbox / PLAN.replace(".CSV", " (2).CSV")).read_bytes() == b"theirs"


def test_names_from_outside_are_never_paths(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    hostile = [
        "../../evil.pdf",
        "/etc/passwd",
        "C:\\win.pdf",
        "con.pdf",
        ".bashrc",
        "a\u202egpj.pdf",
        "x" * 400 + ".pdf",
        "",
    ]
    counter.deliver(*[(name, bytes([n])) for n, name in enumerate(hostile)])
    assert logged_in("fetch", "--all", "--to", tmp_path / "in").exit_code == 0
    inbox = tmp_path / "in" / "20250901120001_9970100117"
    saved = {path for path in tmp_path.rglob("*") if path.is_file() and path.name != "session.json"}
    assert {path.parent for path in saved} == {inbox}
    assert len(saved) == len(hostile)
    assert all(not path.name.startswith(".") and len(path.name.encode()) <= 255 for path in saved)


def test_a_full_or_read_only_disk_leaves_the_message_uncollected(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    counter.deliver((PLAN, b"plan"))
    (tmp_path / "in").write_bytes(b"a file where the folder should be")
    result = logged_in("fetch", "--all", "--to", tmp_path / "in" / "below")
    assert result.exit_code == 1
    assert counter.receipts == {}
    assert "保存できません" in result.stdout


def test_what_the_sender_fetches_is_not_confirmed(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    message_id = counter.deliver((PLAN, b"plan"))
    row = counter.messages[message_id]
    row["sender"], row["recipient"] = row["recipient"], row["sender"]
    assert logged_in("fetch", message_id, "--to", tmp_path / "in").exit_code == 0
    assert counter.receipts == {}


def test_fetch_needs_messages_or_all(logged_in: Any) -> None:
    assert logged_in("fetch").exit_code == 2


def test_lists_have_japanese_heads_and_json(logged_in: Any, counter: Any) -> None:
    counter.deliver((PLAN, b"plan"), text="[bold]よろしく[/bold]")
    people = logged_in("received")
    for word in ("受信日時", "送信元事業所", "データ取得状況", "未", "[bold]よろしく[/bold]"):
        assert word in people.stdout
    assert document(logged_in("received", "--json"))["items"][0]["status"] == "delivered"
    assert "送信日時" in logged_in("sent").stdout


def test_a_recall_says_whether_the_content_had_been_opened(logged_in: Any, counter: Any) -> None:
    unopened, opened, gone = (counter.deliver((PLAN, b"plan"), status="delivered") for _ in range(3))
    first = logged_in("recall", unopened, "--reason", "まちがえました")
    assert first.exit_code == 0
    assert "未開封" in first.stdout
    assert "相手の一覧に初めから出ています" in first.stderr
    counter.opened_at = "2025-09-01T04:00:00Z"
    second = logged_in("recall", opened, "--reason", "まちがえました")
    assert second.exit_code == 0
    assert "開封済み（2025/09/01 13:00）" in second.stdout
    assert "取り消せません" in second.stderr
    told = document(logged_in("recall", opened, "--reason", "まちがえました", "--json"))
    assert (told["status"], told["opened_at"], told["message_id"]) == ("recalled", "2025-09-01T04:00:00Z", opened)
    counter.messages[gone]["status"] = "downloaded"
    refused = logged_in("recall", gone, "--reason", "まちがえました", "--json")
    assert refused.exit_code == 1
    assert document(refused)["error"]["problem"]["code"] == "TDK-ALREADY-DOWNLOADED"


def test_a_recall_before_the_arrival_is_told_apart(logged_in: Any, counter: Any) -> None:
    message_id = counter.deliver((PLAN, b"plan"), status="submitted")
    result = logged_in("recall", message_id, "--reason", "まちがえました", "--json")
    assert result.exit_code == 0
    assert document(result)["status"] == "recall_requested"


@pytest.mark.parametrize("reason", ["", "  ", "あ" * 201])
def test_a_recall_needs_a_reason_of_some_length(logged_in: Any, counter: Any, reason: str) -> None:
    message_id = counter.deliver((PLAN, b"plan"))
    assert logged_in("recall", message_id, "--reason", reason).exit_code == 2
    assert counter.messages[message_id]["status"] == "delivered"


def test_show_and_offices(logged_in: Any, counter: Any) -> None:
    message_id = counter.deliver((PLAN, b"plan"))
    assert "お届け" in logged_in("show", message_id).stdout
    assert document(logged_in("show", message_id, "--json"))["message_id"] == message_id
    assert logged_in("show", "01990000-0000-7000-8000-00000000ffff").exit_code == 1
    assert "訪問介護" in logged_in("offices", "そよかぜ").stdout


def test_nothing_answers_exits_4(logged_in: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = tmp_path / "config" / "session.json"
    session = json.loads(kept.read_text())
    session["url"] = "http://127.0.0.1:1"
    kept.write_text(json.dumps(session))
    monkeypatch.delenv("TODOKE_URL")
    monkeypatch.setattr("todoke.client.drivers.Patience", functools.partial(Patience, seconds=0.2))
    assert logged_in("sent").exit_code == 4


def test_the_help_lists_the_exit_codes(run: Any) -> None:
    assert "終了コード" in run("send", "--help").stdout


def test_demo_files_can_be_sent_by_their_sender(logged_in: Any, counter: Any, tmp_path: Path) -> None:
    made = document(logged_in("demo-files", tmp_path / "demo", "--json"))["sets"]
    assert len(made) > 20
    result = logged_in("send", tmp_path / "demo" / "9970100018", "--yes", "--json")
    assert result.exit_code == 0
    assert len(counter.sent_files) == len([one for one in made if one["sender"] == "9970100018"])
