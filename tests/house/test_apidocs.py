"""The documents that others program against are what the code says: made again and compared."""

import inspect
import json
from pathlib import Path

import pytest

from todoke import client
from todoke.relay.problem import wordings
from tools.apidocs import ROOT, documents, english


@pytest.fixture(scope="module")
def made() -> dict[Path, str]:
    return documents()


@pytest.mark.parametrize(
    "name",
    [
        "docs/api/openapi.json",
        "docs/api/openapi-operator.json",
        "docs/api/asyncapi.yaml",
        "docs/api/client.md",
        "docs/errors.md",
    ],
)
def test_the_generated_document_is_up_to_date(made: dict[Path, str], name: str) -> None:
    assert made[ROOT / name] == (ROOT / name).read_text(encoding="utf-8"), "run make apidocs"


def test_every_error_code_is_explained_in_english_too() -> None:
    assert english().keys() == wordings().keys(), "one line in tools/errors_en.csv for each code"
    assert all(english().values())


def test_every_operation_of_the_client_says_what_it_does_and_of_what_type_everything_is() -> None:
    for name, method in inspect.getmembers(client.Client, inspect.isfunction):
        if not name.startswith("_"):
            parameters = list(inspect.signature(method).parameters.values())
            assert all(one.annotation is not one.empty for one in parameters if one.name != "self"), name
            assert (inspect.getdoc(method) or "").rstrip().endswith((".", ":")), name
            assert getattr(client.AsyncClient, name), name


@pytest.mark.parametrize("name", ["openapi.json", "openapi-operator.json"])
def test_openapi_is_valid_and_of_version_3_1(made: dict[Path, str], name: str) -> None:
    from openapi_spec_validator import validate  # noqa: PLC0415 (slow to import)

    document = json.loads(made[ROOT / "docs/api" / name])
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_the_two_listeners_share_no_path(made: dict[Path, str]) -> None:
    public, operators = (
        json.loads(made[ROOT / "docs/api" / name])["paths"] for name in ("openapi.json", "openapi-operator.json")
    )
    assert not [path for path in public if path.startswith("/v1/operator")]
    assert [path for path in operators if not path.startswith("/v1/operator/")] == []
