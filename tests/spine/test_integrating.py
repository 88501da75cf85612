"""What docs/integrating tells an integrator to type is typed here, in both languages, against a running product."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.spine.product import Product

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("integrating.md", "integrating.ja.md")
SNIPPETS_MIN = 12
SECONDS_MAX = 240
SEQUENCES_SECONDS = 12
"""`todoke demo-files` numbers its sets in seconds from now on: so far the used ones reach into the future."""

_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s+# [^\n]*")


def snippets(page: str) -> list[tuple[str, str]]:
    """(language, code) of every block that is meant to be run."""
    return _BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def script(page: str) -> str:
    """All blocks of a page as one shell script, which says where it is."""
    lines = ["set -euo pipefail"]
    for number, (language, code) in enumerate(snippets(page), 1):
        lines.append(f"echo '--- {page}, block {number}'")
        lines.append(code if language == "bash" else f"python3 - << 'END-OF-BLOCK'\n{code}END-OF-BLOCK")
    return "\n".join(lines)


def test_both_languages_show_the_same_code() -> None:
    english, japanese = ([_COMMENT.sub("", code) for _, code in snippets(page)] for page in PAGES)
    assert english == japanese
    assert len(english) >= SNIPPETS_MIN


@pytest.mark.parametrize("page", PAGES)
def test_every_snippet_works(product: Product, tmp_path: Path, page: str) -> None:
    if shutil.which("curl") is None:
        pytest.fail(
            "This test needs curl: install the package of that name (as root, `make curl` does).", pytrace=False
        )
    began = time.monotonic()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "LANG": "C.UTF-8",
        "TODOKE_URL": product.address,
        "DEMO": str(product.home),
    }
    work = tmp_path / "work"
    work.mkdir()
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.Popen(
            ["bash", "-c", script(page)], cwd=work, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        try:
            code = done.wait(SECONDS_MAX)
        finally:
            if done.poll() is None:
                os.killpg(done.pid, 9)  # the shell and the watchers it started: a session of its own
    said = (tmp_path / "out").read_text(errors="replace")
    assert code == 0, said
    assert sorted(path.name for path in (work / "outgoing").iterdir()) == [".todoke", "送信済み"]
    time.sleep(max(0.0, SEQUENCES_SECONDS - (time.monotonic() - began)))
