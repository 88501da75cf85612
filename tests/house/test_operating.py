"""What operators read names what the program really says."""

import ast
import re

from . import sources

PAGE = (sources.ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


def test_every_log_event_that_wants_a_person_is_explained() -> None:
    table = PAGE.partition("## Log events that want a person")[2].partition("\n## ")[0]
    explained = set(
        re.findall(r"`([a-z_]+)`", " ".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    said = {
        call.args[0].value
        for path in sources.tracked()
        if path.suffix == ".py" and path.parts[0] in ("libs", "services")
        for call in ast.walk(ast.parse((sources.ROOT / path).read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("error", "critical")
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(said) > 20
    assert said - explained == set()


def test_the_readmes_name_every_folder_of_tests() -> None:
    folders = {path.parts[1] for path in sources.tracked() if path.parts[0] == "tests" and len(path.parts) > 2}
    for readme in ("README.md", "README.ja.md"):
        line = re.search(r"^tests +(.+)$", (sources.ROOT / readme).read_text(encoding="utf-8"), re.MULTILINE)
        assert line is not None
        assert set(line[1].split(" · ")) == folders - {"golden"}
