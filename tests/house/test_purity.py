"""SQL lives in .sql files, time and randomness in one module."""

import ast
import re
from pathlib import Path

from . import sources

_CLOCK = Path("libs/todoke/relay/clock.py")
_CLOCKS = {_CLOCK, Path("libs/todoke/client/clock.py")}
"""The client has one of its own: it may not import the kit."""


_WALL_CLOCK_OR_CHANCE = re.compile(
    r"""^(
      datetime\.(datetime\.)?(now|utcnow|today) | (datetime\.)?date\.today
    | time\.(time|time_ns|localtime|gmtime|ctime|strftime)
    | uuid\.uuid[14] | uuid4 | uuid1 | uuid_utils\.(\w+\.)?uuid[1-8] | uuid7
    | random\.\w+ | secrets\.(token_\w+|choice|rand\w+) | os\.urandom
    )$""",
    re.VERBOSE,
)

_ENGINES = Path("libs/todoke/engines")
_TESTING = Path("libs/todoke/relay/testing.py")


def _called(node: ast.Call) -> str:
    parts: list[str] = []
    target: ast.expr = node.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    if isinstance(target, ast.Name):
        parts.append(target.id)
        return ".".join(reversed(parts))
    return ""


def _reads_of_clock_or_chance(tree: ast.Module) -> list[tuple[int, str]]:
    return [
        (node.lineno, name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _WALL_CLOCK_OR_CHANCE.match(name := _called(node))
    ]


def test_time_and_chance_are_read_in_one_module() -> None:
    found = [
        f"{path}:{line} calls {name}: take it from the ports in todoke.relay.clock"
        for path in sources.python("libs", "services")
        if path not in {*_CLOCKS, _TESTING} and _ENGINES not in path.parents
        for line, name in _reads_of_clock_or_chance(sources.tree(path))
    ]
    assert found == []


def test_the_clock_rule_sees_what_it_forbids() -> None:
    code = (
        "import time, uuid\nfrom datetime import datetime, UTC\ndatetime.now(UTC)\ntime.time()\nuuid.uuid4()\nx.now()"
    )
    assert [line for line, _ in _reads_of_clock_or_chance(ast.parse(code))] == [3, 4, 5]
    assert _reads_of_clock_or_chance(sources.tree(_CLOCK)) != []


_SQL = re.compile(
    r"""^\s*(
      select\s.+\sfrom\s | insert\s+into\s | update\s+\w+(\.\w+)?\s+set\s | delete\s+from\s | with\s+\w+\s+as\s*\(
    | (create|alter|drop)\s+(table|index|schema|role|type|function|policy|view|database|sequence|extension)\s
    | (grant|revoke)\s+\w+.*\s(on|to|from)\s | truncate\s | lock\s+table\s | set\s+(local|role|session)\s
    )""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def _sql_in(tree: ast.Module) -> list[int]:
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in said
        and _SQL.match(node.value)
    ]


def test_sql_stands_in_sql_files() -> None:
    found = [
        f"{path}:{line}: name the statement in a .sql file and load it with queries()"
        for path in sources.python("libs", "services", "tools")
        for line in _sql_in(sources.tree(path))
    ]
    assert found == []


def test_the_sql_rule_sees_sql() -> None:
    code = '"""Select one from many."""\nA = "SELECT a\\nFROM b"\nB = "Update your password"\nC = f"insert into {x}"'
    assert _sql_in(ast.parse(code)) == [2, 4]


def test_every_named_statement_has_a_sentence() -> None:
    silent = []
    for path in sources.tracked():
        if path.suffix != ".sql" or path.parts[0] not in {"libs", "services"} or "schema" in path.parts[-2:]:
            continue
        lines = (sources.ROOT / path).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            following = lines[number + 1] if number + 1 < len(lines) else ""
            if line.startswith("-- name:") and not re.match(r"--\s+\S.*", following):
                silent.append(f"{path}:{number + 1} {line}: say in one sentence what it is for")
    assert silent == []
