"""What may stand in tracked files, and what must."""

import re
from pathlib import Path

import pytest

from tools import notices

from . import sources

_LOCKS = ["run.txt", "dev.txt", "peer.txt"]


@pytest.mark.parametrize("name", _LOCKS)
def test_a_lock_file_pins_everything_by_hash_and_names_no_address(name: str) -> None:
    text = (sources.ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert "://" not in text, "write it with `make lock`"
    assert not re.search(r"^\s*-", re.sub(r"^\s+--hash=.*", "", text, flags=re.MULTILINE), re.MULTILINE)
    blocks = re.split(r"\n(?=\S)", text.strip())
    unpinned = [
        block.splitlines()[0] for block in blocks if "==" not in block.splitlines()[0] or "--hash=sha256:" not in block
    ]
    assert unpinned == []


def test_what_runs_and_what_tests_use_the_same_versions() -> None:
    run, dev = (
        dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (sources.ROOT / "requirements" / name).read_text(), re.MULTILINE))
        for name in _LOCKS[:2]
    )
    assert {name: dev.get(name) for name in run} == run, "write both with `make lock`"


def test_no_other_lock_file_names_an_address() -> None:
    addressed = [
        str(path)
        for path in sources.tracked()
        if path.name in {"package-lock.json", "uv.lock", "poetry.lock"}
        and "://" in (sources.ROOT / path).read_text(encoding="utf-8")
    ]
    assert addressed == []


# Spelled in pieces, or this file would break its own rule.
_REGISTRIES = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "registry.npmjs" + ".org",
    "repo1.maven" + ".org",
    "repo.maven.apache" + ".org",
    "crates" + ".io",
    "proxy.golang" + ".org",
]
_MACHINE_PATH = re.compile(r"(?<![\w.])/(work|root|opt/wheels|home/\w+)(/|\b)(?!-)")
_TEXTS = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".in",
    ".sql",
    ".csv",
    ".yml",
    ".yaml",
    ".json",
    ".sh",
    ".html",
    ".css",
    ".js",
    "",
}


def _lines_of_texts() -> list[tuple[Path, int, str]]:
    return [
        (path, number, line)
        for path in sources.tracked()
        if path.suffix in _TEXTS and path.name != "LICENSE"
        for number, line in enumerate(
            (sources.ROOT / path).read_text(encoding="utf-8", errors="ignore").splitlines(), 1
        )
    ]


def test_no_file_names_a_registry() -> None:
    found = [
        f"{path}:{number}" for path, number, line in _lines_of_texts() if any(host in line for host in _REGISTRIES)
    ]
    assert found == [], "an installer knows its registry from its own settings"


def test_no_file_names_a_folder_of_one_machine() -> None:
    found = [
        f"{path}:{number}: {line.strip()[:80]}"
        for path, number, line in _lines_of_texts()
        if _MACHINE_PATH.search(line) and path != Path(__file__).relative_to(sources.ROOT)
    ]
    assert found == [], "paths come from arguments or from the place of the file itself"


def test_the_path_rule_sees_what_it_forbids() -> None:
    for bad in ("cd /" + "work/main", "see /root/.cache", "/opt/wheels", "open('/home/kim/x')"):
        assert _MACHINE_PATH.search(bad), bad
    for good in ("/v1/home", "the network/work/", "GET /works", "docs/work/x"):
        assert not _MACHINE_PATH.search(good), good


def test_the_readme_names_the_two_commands() -> None:
    readme = (sources.ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("make run", "make test"):
        assert re.search(rf"^{command}\b", readme, re.MULTILINE), f"README.md must show: {command}"


def test_links_between_our_pages_lead_somewhere() -> None:
    dead = [
        f"{path} → {target}"
        for path in sources.tracked()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)", (sources.ROOT / path).read_text(encoding="utf-8"))
        if "://" not in target and not (sources.ROOT / path.parent / target).exists()
    ]
    assert dead == []


def test_the_notices_name_every_package_that_is_installed() -> None:
    assert notices.NOTICES.read_text(encoding="utf-8") == notices.page(), "run `make notices`"


def test_every_target_of_the_makefile_that_people_call_says_what_it_does() -> None:
    text = (sources.ROOT / "Makefile").read_text(encoding="utf-8")
    explained = set(re.findall(r"^([a-z]+):.*## \S", text, re.MULTILINE))
    wanted = {"run", "test", "check", "bench", "lint", "types", "golden", "service", "help", "setup", "lock", "soak"}
    assert wanted <= explained


def test_modules_can_be_read_at_a_sitting() -> None:
    longest = 700
    long = [
        f"{path}: {lines} lines"
        for path in sources.python("libs", "services", "bench", "tools")
        if (lines := len((sources.ROOT / path).read_text(encoding="utf-8").splitlines())) > longest
    ]
    assert long == [], f"over {longest} lines: give a part of it a name of its own"


_UNEXPLAINED = re.compile(r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[\w, -]+\])?)\s*$")


def _unexplained(line: str) -> bool:
    return bool(_UNEXPLAINED.search(line))


def test_whoever_silences_a_tool_says_why() -> None:
    found = [
        f"{path}:{number} needs a reason behind it, as in `# noqa: S603 (no argument from outside)`"
        for path in sources.python("libs", "services", "bench", "tools", "tests")
        for number, line in enumerate((sources.ROOT / path).read_text(encoding="utf-8").splitlines(), start=1)
        if _unexplained(line) and not (path.parts[0] == "tests" and "type: ignore" in line)  # a stand-in is no mystery
    ]
    assert found == []


def test_the_rule_about_silenced_tools_sees_what_it_forbids() -> None:
    noqa, ignore = "# no" + "qa", "# type: ig" + "nore"
    silent = [noqa, f"{noqa}: S101", f"{noqa}: S101, T201", ignore, f"{ignore}[arg-type]"]
    assert [line for line in silent if not _unexplained(f"x = 1  {line}")] == []
    spoken = [f"{noqa}: S101 (of our own)", f"{noqa}: S101 - of our own", f"{ignore}[arg-type]  # the shape is known"]
    assert [line for line in spoken if _unexplained(f"x = 1  {line}")] == []
