"""The pool of parser children: whatever a file does to its parser, the answer is a finding, and the next is fine."""

import asyncio
import io
import os
import re
import signal
import sys
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pikepdf
import psutil
import pytest
from PIL import Image

import services
from careplan import Finding
from services.validation import attachments
from services.validation.attachments import ParserPool, ParsersAway
from services.validation.parser_protocol import (
    APPENDED,
    CONTENT,
    CPU_SECONDS_MAX,
    EXPANDS,
    KIND,
    MACRO,
    PROGRAM,
    SVG,
    UNREADABLE,
)


def picture(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "white").save(out, kind)
    return out.getvalue()


def document(*streams: tuple[bytes, str]) -> bytes:
    made = pikepdf.Pdf.new()
    made.add_blank_page()
    for content, filters in streams:
        stream = made.make_stream(b"")
        stream.write(content, filter=pikepdf.Name(filters))
        made.Root["/X" + str(len(made.objects))] = stream
    out = io.BytesIO()
    made.save(out, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none)
    return out.getvalue()


def office_document() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/vbaProject.bin", "x")
    return out.getvalue()


def codes(findings: tuple[Finding, ...]) -> list[str]:
    assert all(finding.severity == "error" for finding in findings)
    return [finding.code for finding in findings]


OTHERS: set[int] = set()
"""Children that a fixture of other tests keeps in this process."""


def children_of_this_process() -> list[psutil.Process]:
    found = [child for child in psutil.Process().children() if "parser_child" in " ".join(child.cmdline())]
    return [child for child in found if child.pid not in OTHERS]


@pytest.fixture(scope="module", autouse=True)
def others() -> None:
    OTHERS.update(child.pid for child in children_of_this_process())


@pytest.fixture(name="pool")
async def pool_fixture() -> AsyncIterator[ParserPool]:
    async with ParserPool(children=1) as pool:
        yield pool
    assert children_of_this_process() == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("2025.03.01.pdf", document()),
        ("A.PDF", document()),
        ("写真.jpg", picture("JPEG")),
        ("写真.JPEG", picture("JPEG")),
        ("図.png", picture("PNG")),
    ],
)
async def test_a_file_of_an_allowed_kind_passes(pool: ParserPool, name: str, data: bytes) -> None:
    assert await pool.check(name, data) == ()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a.exe", PROGRAM),
        ("a.pdf.EXE", PROGRAM),
        ("a.js", PROGRAM),
        ("a.docm", MACRO),
        ("a.svg", SVG),
        *(
            (name, KIND)
            for name in ("a.html", "a.pdf.zip", "pdf", ".pdf", "a.pdf.", "a", "a.ｐｄｆ", "a.heic", "a.docx")
        ),
    ],
)
async def test_any_other_extension_is_refused_without_a_parser(pool: ParserPool, name: str, code: str) -> None:
    assert codes(await pool.check(name, document())) == [code]
    assert children_of_this_process() == []


PROGRAM_BYTES = b"MZ\x90\x00" + bytes(2000)
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000)


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.pdf", PROGRAM_BYTES, PROGRAM),
        ("a.txt", PROGRAM_BYTES, PROGRAM),
        ("a.pdf", b"\x7fELF" + bytes(2000), PROGRAM),
        ("a.jpg", b"#!/bin/sh\n", PROGRAM),
        ("a.pdf", COMPOUND, CONTENT),
        ("a.pdf", COMPOUND + "_VBA_PROJECT".encode("utf-16-le"), MACRO),
        ("a.doc", COMPOUND + "_VBA_PROJECT".encode("utf-16-le"), MACRO),
        ("a.pdf", office_document(), MACRO),
        ("a.docx", office_document(), MACRO),
        ("a.pdf", b"<html><script>alert(1)</script></html>", CONTENT),
        ("a.pdf", picture("PNG"), CONTENT),
        ("a.pdf", b"", CONTENT),
        ("a.jpg", picture("PNG"), CONTENT),
        ("a.jpg", picture("GIF"), CONTENT),
        ("a.png", picture("JPEG"), CONTENT),
        ("a.png", b"<?xml version='1.0'?><SVG xmlns='http://www.w3.org/2000/svg'><script/></SVG>", SVG),
        ("a.png", document(), CONTENT),
    ],
)
async def test_content_that_is_not_what_the_extension_says_is_refused(
    pool: ParserPool, name: str, data: bytes, code: str
) -> None:
    assert codes(await pool.check(name, data)) == [code]


async def test_a_finding_names_the_file_and_nothing_else(pool: ParserPool) -> None:
    (finding,) = await pool.check("写真.jpg", picture("JPEG") + b"x")
    assert finding == Finding(APPENDED, "error", "写真.jpg")


async def test_children_start_with_the_first_file_and_are_kept(pool: ParserPool) -> None:
    assert children_of_this_process() == []
    await pool.check("a.pdf", document())
    (first,) = children_of_this_process()
    await pool.check("b.png", picture("PNG"))
    assert children_of_this_process() == [first]


async def test_a_child_has_no_environment_no_files_and_little_memory(
    pool: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TODOKE_POSTGRES", "secret")
    await pool.check("a.pdf", document())
    (child,) = children_of_this_process()
    assert set(child.environ()) <= {"PYTHONPATH", "LANG", "LC_CTYPE"}
    assert child.rlimit(psutil.RLIMIT_AS)[0] <= 512 * 1024 * 1024
    assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_NPROC) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_NOFILE) == (child.num_fds(), child.num_fds()) == (4, 4)
    assert [file.path for file in child.open_files()] == []


INTRUDER = """
import errno, os, resource, socket, sys, threading
from services.validation import confinement, parser_child

harmless = parser_child.INSPECTORS[b"f"]

def tried(name, act):
    try:
        act()
    except OSError as error:
        return f"{name}:{errno.errorcode[error.errno]}"
    except (RuntimeError, ValueError):  # of threads, of limits: without a number
        return f"{name}:EPERM"
    return f"{name}:DONE"

def spin(data):
    while True:
        pass

def intrude(data):
    if b"%KEY " not in data:
        return harmless(data)
    key = data.split(b"%KEY ")[1]
    return {tried(name, act) for name, act in {
        "read": lambda: os.open(key, os.O_RDONLY),
        "write": lambda: os.open(key + b".new", os.O_WRONLY | os.O_CREAT),
        "list": lambda: os.listdir("/"),
        "socket": lambda: socket.socket(socket.AF_INET),
        "local": lambda: socket.socket(socket.AF_UNIX),
        "pipe": lambda: os.pipe(),
        "memory-file": lambda: os.memfd_create("a"),
        **OTHERS,
    }.items()}

OTHERS = {
    "remove": lambda: os.unlink(sys.argv[0]),
    "fork": lambda: os.fork() or os._exit(0),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "thread": lambda: threading.Thread(target=int).start(),
    "signal": lambda: os.kill(os.getppid(), 0),
    "widen": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99)),
}

parser_child.INSPECTORS[b"f"] = intrude
"""
"""A program in the child's place whose inspector breaks out if it can; everything else of it is the real one."""

FILES = ("read", "write", "list", "socket", "local", "pipe", "memory-file")
REST = ("remove", "fork", "exec", "spawn", "thread", "signal", "widen")


@pytest.mark.parametrize(
    ("wall", "refused"),
    [
        ("", {f"{act}:EPERM" for act in FILES + REST}),
        ("confinement.OPEN_FILES_MAX = 99", {f"{act}:EPERM" for act in FILES + REST}),
        (
            "OTHERS.clear()\nconfinement._filter = lambda: b'\\6\\0\\0\\0' + (0x7FFF0000).to_bytes(4, 'little')",
            {f"{act}:EMFILE" for act in FILES},
        ),
    ],
    ids=["both walls", "the filter alone", "the limits alone"],
)
async def test_an_inspector_that_was_taken_over_reaches_no_key_no_network_and_no_other_program(
    tmp_path: Path, pool: ParserPool, monkeypatch: pytest.MonkeyPatch, wall: str, refused: set[str]
) -> None:
    key = tmp_path / "root.key"
    key.write_bytes(b"secret")
    key.chmod(0o600)
    program = f"{INTRUDER}\n{wall}\nparser_child.run(int(sys.argv[1]))"
    monkeypatch.setattr(attachments, "PROGRAM", ("-s", "-B", "-P", "-c", program))
    assert set(codes(await pool.check("a.pdf", document() + b"%KEY " + bytes(key)))) == refused
    assert os.listdir(tmp_path) == ["root.key"]  # noqa: PTH208 (of an async function: one small folder)
    assert await pool.check("a.pdf", document()) == ()
    assert len(children_of_this_process()) == 1


async def test_a_file_that_takes_too_much_processor_time_is_a_finding_at_once(
    pool: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = "parser_child.CPU_SECONDS_MAX = 0.2\nparser_child._warm_up()\nparser_child._warm_up = lambda: None"
    program = f"{INTRUDER}\n{patience}\nparser_child.INSPECTORS[b'f'] = spin\nparser_child.run(int(sys.argv[1]))"
    monkeypatch.setattr(attachments, "PROGRAM", ("-s", "-B", "-P", "-c", program))
    monkeypatch.setattr(attachments, "JOB_SECONDS_MAX", 600)
    assert codes(await pool.check("a.pdf", document())) == [UNREADABLE]


async def test_a_child_is_replaced_after_so_many_jobs(pool: ParserPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "JOBS_MAX", 2)
    seen = set()
    for _ in range(4):
        await pool.check("a.pdf", document())
        seen |= {child.pid for child in children_of_this_process()}
    assert len(seen) == 2


async def test_a_child_that_was_killed_while_idle_is_replaced(pool: ParserPool) -> None:
    await pool.check("a.pdf", document())
    (child,) = children_of_this_process()
    child.kill()
    assert await pool.check("a.pdf", document()) == ()


async def hold(pool: ParserPool) -> psutil.Process:
    """The pool's one child, warm and stopped: the next job stays in its hands."""
    await pool.check("a.jpg", picture("JPEG"))
    (child,) = children_of_this_process()
    child.suspend()
    return child


async def test_a_child_killed_in_the_middle_is_tried_again_in_a_fresh_one(pool: ParserPool) -> None:
    child = await hold(pool)
    checking = asyncio.create_task(pool.check("a.jpg", picture("JPEG", (3000, 2000))))
    await asyncio.sleep(0.1)
    child.kill()
    assert await checking == ()


async def test_a_child_without_processor_time_is_replaced_and_the_file_tried_again(
    pool: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hold(pool)
    monkeypatch.setattr(attachments, "JOB_SECONDS_MAX", 2)
    assert await pool.check("a.jpg", picture("JPEG")) == ()


async def test_a_cancelled_check_leaves_no_half_done_child(pool: ParserPool) -> None:
    child = await hold(pool)
    checking = asyncio.create_task(pool.check("a.jpg", picture("JPEG")))
    await asyncio.sleep(0.1)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    assert not child.is_running()
    assert await pool.check("a.pdf", document()) == ()


def deep_page_tree() -> bytes:
    """A page tree 20,000 deep."""
    depth = 20_000
    parts = ["<</Type/Catalog/Pages 2 0 R>>"]
    parts += [f"<</Type/Pages/Kids[{number + 1} 0 R]/Count 1>>" for number in range(2, depth)]
    parts.append("<</Type/Page/MediaBox[0 0 9 9]>>")
    return table(parts)


def nested_arrays() -> bytes:
    return table(["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[]/Count 0>>", "[" * 500_000 + "]" * 500_000])


def table(parts: list[str]) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{part}\nendobj\n".encode()
    start = len(out)
    out += f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += f"trailer\n<</Size {len(parts) + 1}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def object_stream_bomb() -> bytes:
    """Objects in a packed stream that unpacks to more than a child may have while the file is opened."""
    packed = zlib.compress(b"4 0 " + bytes(600 * 1024 * 1024), 1)
    entries = b"<</Type/ObjStm/N 1/First 4/Filter/FlateDecode/Length %d>>" % len(packed)
    made = pikepdf.Pdf.new()
    made.add_blank_page()
    out = io.BytesIO()
    made.save(out, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    whole = re.compile(rb"<<[^<>]*/ObjStm[^<>]*>>\nstream\n.*?\nendstream", re.DOTALL)
    return whole.sub(lambda _: entries + b"\nstream\n" + packed + b"\nendstream", out.getvalue(), 1)


@pytest.mark.long
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (deep_page_tree, "a.pdf"),
        (nested_arrays, "a.pdf"),
        (object_stream_bomb, "a.pdf"),
        (lambda: b"%PDF-1.7\n" + b"1 0 obj\n" * 200_000 + b"%%EOF", "a.pdf"),
        (lambda: b"%PDF-1.7\n" + b"(" * 9_000_000 + b"%%EOF", "a.pdf"),
        (lambda: b"%PDF-1.7\n" + b"%%EOF\n" * 1_000_000, "a.pdf"),
        (lambda: b"\xff\xd8\xff" + b"\xff\xda\0\2" * 2_000_000 + b"\xff\xd9", "a.jpg"),
        (lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 2_000_000 + b"\xff\xd9", "a.jpg"),
        (lambda: b"\xff\xd8" + b"\xff" * 9_000_000 + b"\xd9", "a.jpg"),
        (lambda: b"\x89PNG\r\n\x1a\n" + bytes(9_000_000), "a.png"),
    ],
)
async def test_a_file_made_to_exhaust_its_parser_ends_in_a_finding(
    pool: ParserPool, make: Callable[[], bytes], name: str
) -> None:
    assert codes(await pool.check(name, make()))
    assert await pool.check("a.pdf", document()) == ()


async def test_a_page_that_unpacks_to_gigabytes_is_refused(pool: ParserPool) -> None:
    page = document((zlib.compress(bytes(200 * 1024 * 1024), 1), "/FlateDecode"))
    assert codes(await pool.check("a.pdf", page)) == [EXPANDS]
    assert await pool.check("a.pdf", document()) == ()


STARTED = "print('ready', flush=True)\nsys.stdin.buffer.read(9)\n"


async def judged_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> list[str]:
    """The codes when another program stands in the parser child's place: real processes that misbehave."""
    package = tmp_path / "services" / "validation"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    note = f"open({str(tmp_path / 'starts')!r}, 'a').write('.')\n"
    (package / "parser_child.py").write_text(f"import os, resource, sys, time\n{note}{body}")
    monkeypatch.setattr(services, "__path__", [str(tmp_path / "services")])
    async with ParserPool() as pool:
        return codes(await pool.check("a.pdf", document()))


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text())


@pytest.mark.parametrize(
    "body",
    [
        "os.abort()",
        "os.kill(os.getpid(), 11)",
        "sys.exit(1)",
        "resource.setrlimit(resource.RLIMIT_CPU, (1, -1))\nwhile True: pass",
        "sys.stdout.write('TDK-HALF')\nsys.stdout.flush()\nsys.exit(0)",
    ],
)
async def test_a_child_that_dies_of_the_file_is_a_finding_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    assert await judged_by(tmp_path, monkeypatch, STARTED + body) == [UNREADABLE]
    assert starts(tmp_path) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_children_killed_twice_over_one_file_are_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    assert await judged_by(tmp_path, monkeypatch, f"{STARTED}os.kill(os.getpid(), {number:d})") == [UNREADABLE]
    assert starts(tmp_path) == 2


@pytest.mark.parametrize("body", ["time.sleep(3600)", "os.close(0)\ntime.sleep(3600)"])
async def test_children_that_hang_are_ended_and_are_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(attachments, "JOB_SECONDS_MAX", 0.5)
    assert await judged_by(tmp_path, monkeypatch, STARTED + body) == [UNREADABLE]


async def test_a_machine_without_processor_time_for_the_child_says_nothing_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "JOB_SECONDS_MAX", 0.5)
    with pytest.raises(ParsersAway, match="no processor time"):
        await judged_by(tmp_path, monkeypatch, STARTED + "while True: pass")
    assert starts(tmp_path) == 2


async def test_a_child_that_cannot_start_is_the_machines_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ParsersAway, match="did not start"):
        await judged_by(tmp_path, monkeypatch, "sys.exit(1)")


async def test_children_die_with_their_parent_however_it_dies(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, pathlib\n"
        "from services.validation.attachments import ParserPool\n"
        "async def main():\n"
        "    pool = ParserPool()\n"
        "    await pool.check('a.png', pathlib.Path(sys.argv[1]).read_bytes())\n"
        "    print(pool._free[0]._process.pid, flush=True)\n"
        "    await asyncio.sleep(3600)\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "a.png").write_bytes(picture("PNG"))
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "a.png"), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    await asyncio.to_thread(child.wait, 10)


async def test_two_files_are_parsed_at_a_time_and_no_more() -> None:
    async with ParserPool(children=2) as pool:
        found = await asyncio.gather(*(pool.check(f"{number}.pdf", document()) for number in range(30)))
        assert found == [()] * 30
        assert len(children_of_this_process()) == 2


def test_the_limits_leave_room_for_each_other() -> None:
    assert CPU_SECONDS_MAX < attachments.JOB_SECONDS_MAX
