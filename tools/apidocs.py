"""Writes docs/api and docs/errors.md from the code: `python -m tools.apidocs`.

A house test makes them again and compares.
"""

import asyncio
import contextlib
import csv
import functools
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from fastapi import APIRouter
from pydantic import SecretStr

from careplan.wording import finding_texts
from services.builds import builds
from todoke.events import topic_of
from todoke.relay.access import Access
from todoke.relay.clock import Ports
from todoke.relay.kafka import Described, describe
from todoke.relay.metrics import Metrics
from todoke.relay.operating_api import operator_routes
from todoke.relay.problem import wordings
from todoke.relay.service import Service, Shared
from todoke.relay.settings import S3Settings, Settings
from todoke.relay.web import application
from tools import clientdocs

ROOT = Path(__file__).parents[1]
HEAD_ERRORS = """# Error codes

Generated from `libs/todoke/relay/messages_ja.csv` and `tools/errors_en.csv` by `make apidocs`. Every answer that is no
success is an `application/problem+json` document (RFC 9457) with one of these codes. What stands in `{}` is filled in.

| code | status | number | in English | what it says | what to do |
| --- | --- | --- | --- | --- | --- |
"""
HEAD_FINDINGS = """
## Finding codes

What the checks of files say (`POST /v1/messages/check`, `GET /v1/messages/{id}/findings`), generated from
`libs/careplan/findings_ja.csv`. A file whose name is refused at once has the code of the table above instead.

| code | number | what it says | what to do |
| --- | --- | --- | --- |
"""


def documents() -> dict[Path, str]:
    """Path → text of every generated document."""
    services, access = asyncio.run(_wired())
    public = [router for service in services for router in service.routers]
    operators = [router for service in services for router in service.operator_routers]
    return {
        ROOT / "docs/api/openapi.json": _openapi("Todoke", public),
        ROOT / "docs/api/openapi-operator.json": _openapi(
            "Todoke operators", [*operators, operator_routes(access, {})]
        ),
        ROOT / "docs/api/asyncapi.yaml": _asyncapi(services),
        ROOT / "docs/api/client.md": clientdocs.text(),
        ROOT / "docs/errors.md": _errors(),
    }


async def _wired() -> tuple[list[Service], Access]:
    """Every service and who may ask it, wired without an engine: nothing is asked of one before it is started."""
    with _home() as home:
        settings = Settings(
            home=home,
            keys=home / "keys",
            postgres=SecretStr("postgresql://nobody@127.0.0.1:9/none"),
            s3=S3Settings(endpoint="http://127.0.0.1:9", access_key="none", secret_key=SecretStr("none")),
        )
        shared = await Shared.open(settings)
        try:
            return [build(await shared.runtime(name)) for name, build in builds().items()], shared.access
        finally:
            await shared.close()


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _openapi(title: str, routers: Sequence[APIRouter]) -> str:
    async def health() -> dict[str, object]:
        return {}

    app = application(title, routers, metrics=Metrics(), health=health, ids=Ports.real().ids)
    return json.dumps(app.openapi(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _asyncapi(services: list[Service]) -> str:
    described = []
    for service in services:
        topics = sorted({topic_of(speaker) for event in service.hears() for speaker in event.SAID_BY})
        described.append(Described(service.name, tuple(topics), service.hears(), service.says, service.pace_seconds))
    return yaml.safe_dump(describe(described), sort_keys=True, allow_unicode=True, width=120)


@functools.cache
def english() -> dict[str, str]:
    """Code → what it means, for engineers: the offices' words stand in `messages_ja.csv`."""
    table = (ROOT / "tools/errors_en.csv").read_text(encoding="utf-8")
    return {row["code"]: row["meaning"] for row in csv.DictReader(table.splitlines())}


def _errors() -> str:
    meant = english()
    errors = [
        f"| `{one.code}` | {one.status} | {one.number or ''} | {meant.get(one.code, '')} | {one.title} | {one.detail} |"
        for one in sorted(wordings().values(), key=lambda each: each.code)
    ]
    findings = [
        f"| `{one.code}` | {one.number} | {one.message} | {one.advice} |"
        for one in sorted(finding_texts().values(), key=lambda each: each.code)
    ]
    return HEAD_ERRORS + "\n".join(errors) + "\n" + HEAD_FINDINGS + "\n".join(findings) + "\n"


if __name__ == "__main__":
    for path, text in documents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
