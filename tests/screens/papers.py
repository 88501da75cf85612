"""Files as a clerk drops them: sets of the care software with fresh sequences, PDFs, pictures, ZIPs, and bad ones."""

import io
import itertools
import re
import zipfile
from datetime import datetime, timedelta

import pikepdf
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

import careplan
from tests.screens.browsing import SECONDS_MAX
from todoke.relay.clock import JAPAN

MANAGER, HELPER, RENTAL = "9970100018", "9970100117", "9970100216"
_SERVICES = {HELPER: "11", RENTAL: "17"}
_SETS = {HELPER: "provider_a", RENTAL: "provider_b"}
expect.set_options(timeout=SECONDS_MAX)
_COUNT = itertools.count()
_BEGUN = datetime.now(JAPAN) - timedelta(days=200)
"""Before every 連番 of the other tests, and of what the portal numbers itself, by the clock."""


def fresh_sequence() -> str:
    """Fourteen digits that no other test uses, rising."""
    return (_BEGUN + timedelta(seconds=next(_COUNT))).strftime("%Y%m%d%H%M%S")


def plan(recipient: str = HELPER, sequence: str | None = None, service_type: str | None = None) -> list[FilePayload]:
    """A whole set (UPHOSOKU, UPPLAN, UPSIKYU) from the manager to a service office, of this type of its."""
    return _made_for(recipient, "plan_67_to", sequence, service_type)


def care_plan(recipient: str = HELPER, sequence: str | None = None) -> list[FilePayload]:
    """A whole set of forms 1 to 3 (UP1KYO, UP2KYO, UP3KYO, UPHOSOKU) from the manager to a service office."""
    return _made_for(recipient, "plan_123_to", sequence, None)


def actuals(sender: str = HELPER, sequence: str | None = None, service_type: str | None = None) -> list[FilePayload]:
    """The 実績 (UPJSK) of a service office for the manager."""
    return _made_for(sender, "results_from", sequence, service_type)


def _made_for(office: str, kind: str, sequence: str | None, service_type: str | None) -> list[FilePayload]:
    """A sample under a fresh 連番; an office without samples of its own has the helper's, as those of its services."""
    owner, sequence = office if office in _SETS else HELPER, sequence or fresh_sequence()
    before, after = _SERVICES[owner], service_type or _SERVICES[owner]
    found = []
    for name, data in careplan.sample_sets()[f"202407/{kind}_{_SETS[owner]}"]:
        parsed = careplan.parse_name(name)
        assert parsed is not None
        name_now = name.replace(parsed.sequence, sequence).replace(f"{owner}_{before}", f"{office}_{after}")
        theirs = re.sub(rf",{before}(?=\w{{4}},)".encode(), f",{after}".encode(), data)
        found.append(paper(name_now, theirs.replace(owner.encode(), office.encode())))
    return found


def spoilt(files: list[FilePayload]) -> list[FilePayload]:
    """The same with a service month that does not exist in every table."""
    return [paper(file["name"], file["buffer"].replace(b",202509,", b",202513,")) for file in files]


def paper(name: str, data: bytes) -> FilePayload:
    """A file by its name and bytes."""
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def pdf(name: str = "ハザードマップ.pdf") -> FilePayload:
    """A plain PDF of one empty page."""
    out = io.BytesIO()
    with pikepdf.new() as document:
        document.add_blank_page()
        document.save(out)
    return paper(name, out.getvalue())


def photo(name: str = "玄関の写真.jpg") -> FilePayload:
    """A small picture."""
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "white").save(out, "JPEG")
    return paper(name, out.getvalue())


def zipped(files: list[FilePayload], name: str = "提供票.zip", folder: str = "令和7年9月/") -> FilePayload:
    """A ZIP as care software or a person makes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(folder + file["name"], file["buffer"])
    return paper(name, out.getvalue())


def drop(page: Page, files: list[FilePayload], field: str = "#files") -> None:
    """Choose files in a drop box and wait until the server has them."""
    page.locator(field).set_input_files(files)
    button = page.locator(f"{field}-send")
    if button.is_visible():
        button.click()


def sheet(page: Page, *files: FilePayload) -> None:
    """The clerk's own sheet with these files and nothing else."""
    page.goto("/bulk")
    if page.locator("tbody tr").count():
        page.get_by_role("button", name="全選択", exact=True).click()
        page.get_by_role("button", name="削除", exact=True).click()
        expect(page.get_by_text("件を削除しました。")).to_be_visible()
    close = page.get_by_role("button", name="閉じる")
    if close.count():
        close.click()
    if files:
        drop(page, list(files))
        expect(page.locator("tbody tr, #unusable-title").first).to_be_visible()


def rows(page: Page) -> list[list[str]]:
    """The sheet's rows: office, sequence, message, type, files, kinds, result."""
    found: list[list[str]] = page.evaluate(
        "() => [...document.querySelectorAll('main tbody tr')].map(row => "
        "[...row.cells].slice(1, 8).map(cell => cell.innerText.trim()))"
    )
    return found


def confirm(page: Page) -> None:
    """Say yes to what is asked before sending, if something is."""
    page.locator("#progress, #unusual, #result").first.wait_for()
    if page.locator("#unusual").count():
        for box in page.locator("input[name=sure]").all():
            box.check()
        page.get_by_role("button", name="送信する").click()


def send_all(page: Page) -> None:
    """Press 一括送信, confirm, and wait for the end."""
    page.get_by_role("button", name="一括送信（").click()
    confirm(page)
    expect(page.get_by_role("heading", name="一括送信が終わりました")).to_be_visible(timeout=60_000)
