"""Who may import whom, beyond what import-linter sees."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from todoke.events import SERVICES

from . import sources

_ALONE = """
import importlib, pkgutil, sys

name, siblings = sys.argv[1], set(sys.argv[2].split(","))

class Hidden:
    def find_spec(self, module, path=None, target=None):
        parts = module.split(".")
        if parts[0] == "services" and len(parts) > 1 and parts[1] in siblings:
            raise ImportError(f"{module} is a sibling: say an event, or ask over HTTP")

sys.meta_path.insert(0, Hidden())
service = importlib.import_module(f"services.{name}")
for found in pkgutil.walk_packages(service.__path__, service.__name__ + "."):
    importlib.import_module(found.name)
"""


@pytest.mark.long
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_imports_with_its_siblings_hidden(name: str) -> None:
    siblings = ",".join(each for each in SERVICES if each != name)
    done = subprocess.run([sys.executable, "-c", _ALONE, name, siblings], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]


def test_hiding_a_sibling_is_seen() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, "ingest", "ingest"], capture_output=True, text=True, check=False
    )
    assert "ingest is a sibling" in done.stderr


def test_careplan_needs_the_standard_library_only() -> None:
    foreign = [
        f"{path}:{line} imports {module}"
        for path in sources.python("libs")
        if path.parts[1] == "careplan"
        for module, line in sources.imports(path)
        if module.split(".")[0] not in sys.stdlib_module_names | {"careplan"}
    ]
    assert foreign == [], "careplan is useful alone to any vendor: keep it on the standard library"


_ENGINE_FILES = {
    "faststream": "libs/todoke/relay/kafka.py",
    "aiokafka": "libs/todoke/relay/kafka.py",
    "asyncpg": "libs/todoke/relay/postgres.py",
    "minio": "libs/todoke/relay/objects.py",
}


def test_each_engine_is_spoken_to_in_one_file() -> None:
    elsewhere = [
        f"{path}:{line} imports {module}: use {_ENGINE_FILES[top]}"
        for path in sources.python("libs", "services", "tools")
        for module, line in sources.imports(path)
        if (top := module.split(".")[0]) in _ENGINE_FILES and path != Path(_ENGINE_FILES[top])
    ]
    assert elsewhere == []


_OF_AN_OFFICE = """
import sys
from services.__main__ import main

try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(sorted({name.split(".")[0] for name in sys.modules} & {"asyncpg", "aiokafka", "faststream", "fastapi", "minio"}))
print(sorted(name for name in sys.modules if name.startswith(("services.", "todoke.relay", "todoke.events"))))
"""


@pytest.mark.parametrize("words", [["--help"], ["sent"], ["watch", "--help"]])
def test_a_command_of_an_office_does_not_wait_for_the_services(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", _OF_AN_OFFICE, *words]
    environment = {**os.environ, "TODOKE_SESSION": str(tmp_path / "none.json")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.splitlines()[-2:] == ["[]", "['services.__main__']"], done.stderr


_EMPTY_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers", "common"}


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = [
        str(path)
        for path in sources.python("libs", "services", "bench", "tests", "tools")
        if _EMPTY_NAMES & set(path.with_suffix("").parts) or set(path.stem.split("_")) & _EMPTY_NAMES
    ]
    assert empty == [], "name a module for what it knows"
