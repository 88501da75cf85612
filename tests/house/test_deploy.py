"""What one deploys must agree with the code: compose file, image, front. No container is started here."""

import fnmatch
import json
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from todoke.engines import kafka
from todoke.events import SERVICES, topic_of, topic_settings
from todoke.relay.metrics import Metrics
from todoke.relay.problem import Problem
from todoke.relay.settings import Settings
from tools import apidocs

from . import sources

_COMPOSE = sources.ROOT / "docker-compose.yml"
_DOCKERFILE = sources.ROOT / "Dockerfile"
_CADDYFILE = sources.ROOT / "deploy" / "Caddyfile"
_WATCH = sources.ROOT / "deploy" / "watch"

_Front = list[tuple[str | None, list[str]]]

_PINNED = re.compile(r"[a-z0-9./-]+:\d+\.\d+[\w.-]*")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(_COMPOSE.read_text(encoding="utf-8"))
    return loaded


def test_the_compose_file_keeps_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text(encoding="utf-8"))
    validator = jsonschema_rs.validator_for(schema)
    assert [error.message for error in validator.iter_errors(compose)] == []
    # That the validator sees anything at all:
    assert not validator.is_valid({"services": {"one": {"image": "one", "port": ["80:80"]}}})


def test_every_service_has_a_block_that_runs_it_and_nothing_else(compose: dict[str, Any]) -> None:
    ours = {name: block for name, block in compose["services"].items() if block["image"].startswith("todoke:")}
    assert set(ours) == set(SERVICES)
    for name, block in ours.items():
        assert block["command"] == [name]
        assert "keys:/var/lib/todoke/keys" in block["volumes"], "all services share the key files"
        assert block["read_only"] is True
        assert block["cap_drop"] == ["ALL"]


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    images = {block["image"] for block in compose["services"].values()}
    text = _DOCKERFILE.read_text(encoding="utf-8")
    (tag,) = re.findall(r"^ARG PYTHON=(\S+)$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:${PYTHON}"}
    assert [image for image in [*images, f"python:{tag}"] if not _PINNED.fullmatch(image)] == []


def test_the_image_holds_a_version_of_python_that_we_support() -> None:
    (version,) = re.findall(r"^ARG PYTHON=(\d+\.\d+)", _DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert version == "3.11", "requirements/run.txt is made for it"


def test_every_variable_is_a_setting(compose: dict[str, Any]) -> None:
    said = {name for block in compose["services"].values() for name in block.get("environment", {})}
    said |= set(re.findall(r"\b(TODOKE_[A-Z0-9_]+)=", _DOCKERFILE.read_text(encoding="utf-8")))
    ours = {name for name in said if name.startswith("TODOKE_")}
    assert {"TODOKE_KAFKA", "TODOKE_POSTGRES", "TODOKE_S3", "TODOKE_LISTEN"} <= ours, "serve asks no home for them"
    fields = {f"TODOKE_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in ours if name.split("__")[0] not in fields} == set()


def test_what_a_container_is_told_makes_settings(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in compose["services"]["ingest"]["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{[^}]*\}", "x", value))
    settings = Settings()
    assert settings.s3.endpoint == "http://seaweed:8333"
    assert settings.address == "https://x"


def test_no_secret_stands_in_the_compose_file() -> None:
    text = _COMPOSE.read_text(encoding="utf-8")
    for name in ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "DOMAIN"):
        assert f"${{{name}:?" in text, f"{name} must be asked for"
        assert f"${{{name}:-" not in text, f"{name} has no default"


def test_kafka_is_told_what_the_embedded_one_is_told(compose: dict[str, Any]) -> None:
    told = {
        name.removeprefix("KAFKA_").replace("_", ".").lower(): str(value)
        for name, value in compose["services"]["kafka"]["environment"].items()
    }
    differs = {key: told[key] for key in kafka._SETTINGS.keys() & told.keys() if told[key] != kafka._SETTINGS[key]}
    assert differs == {}
    assert {
        "auto.create.topics.enable",
        "log.flush.interval.messages",
        "log.message.timestamp.type",
        "log.retention.ms",
        "unclean.leader.election.enable",
    } <= told.keys(), "what no promise holds without"


def test_the_image_runs_as_nobody_in_particular_and_says_whether_it_lives() -> None:
    text = _DOCKERFILE.read_text(encoding="utf-8")
    last = text.rpartition("FROM ")[2]
    (user,) = re.findall(r"^USER (\d+):\d+$", last, re.MULTILINE)
    assert int(user) > 0
    assert "/health/live" in last
    assert "HEALTHCHECK" in last
    assert "--require-hashes" in text


def test_only_what_is_installed_reaches_the_builder() -> None:
    lines = (sources.ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", _DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    for source in " ".join(copied).split():
        assert f"!{source}" in rules
        assert (sources.ROOT / source).exists()


def _fronts() -> dict[str, _Front]:
    """Listener → the services in the order in which the front tries them, each with its path patterns.

    None stands for what is refused before the service that gets whatever is left.
    """
    text = _CADDYFILE.read_text(encoding="utf-8")
    found: dict[str, _Front] = {}
    for listener, block in re.findall(r"^(https://\S+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        patterns = {name: paths.split() for name, paths in re.findall(r"^\t@(\w+) path (.+)$", block, re.MULTILINE)}
        order = re.findall(r"handle @(\w+) \{\n\s+import proxy (\w+):(\d+)\n", block)
        assert all(matcher == service for matcher, service, _ in order)
        assert {port for *_, port in order} == ({"8081"} if ":8443" in listener else {"8080"})
        found[listener] = [(service, patterns[service]) for service, *_ in order]
        found[listener] += [
            (None, patterns[name]) for name in re.findall(r"handle @(\w+) \{\n\s+import nothing\n", block)
        ]
        found[listener] += [(name, ["*"]) for name in re.findall(r"handle \{\n\s+import proxy (\w+):8080\n", block)]
    return found


def _leads_to(front: _Front, path: str) -> str | None:
    return next((service for service, patterns in front if any(_fits(path, each) for each in patterns)), None)


def _fits(path: str, pattern: str) -> bool:
    """As the front matches: a star at the end is any rest, one before is one step of the path."""
    if pattern.count("*") == 1 and pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def _filled(template: str) -> str:
    return re.sub(r"\{\w+\}", "x1", template)


async def test_the_front_leads_each_path_to_the_service_that_serves_it() -> None:
    public, operators = _fronts().values()
    services, _ = await apidocs._wired()
    wrong = [
        f"{path} of {service.name} goes to {led}"
        for service in services
        for front, routers in ((public, service.routers), (operators, service.operator_routers))
        for path in (route.path for router in routers for route in router.routes)  # type: ignore[attr-defined]
        if not path.startswith("/internal/") and (led := _leads_to(front, _filled(path))) != service.name
    ]
    assert wrong == []


def test_the_operators_front_leads_to_the_service_that_a_path_names() -> None:
    _, operators = _fronts().values()
    api = json.loads((sources.ROOT / "docs" / "api" / "openapi-operator.json").read_text(encoding="utf-8"))
    of_services = [path for path in api["paths"] if "/services/{service}/" in path]
    assert len(of_services) > 5
    for service in SERVICES:
        for path in of_services:
            assert _leads_to(operators, _filled(path.replace("{service}", service))) == service


def test_the_front_knows_every_path_of_the_api_and_nothing_inside() -> None:
    public, _ = _fronts().values()
    api = json.loads((sources.ROOT / "docs" / "api" / "openapi.json").read_text(encoding="utf-8"))
    assert [path for path in api["paths"] if _leads_to(public, _filled(path)) is None] == []
    for inside in ("/internal/sessions/ended", "/metrics", "/health/ready", "/v1/operator/session"):
        assert _leads_to(public, inside) is None


def test_operators_reach_each_service_on_their_own_listener_only() -> None:
    public, operators = _fronts().values()
    for name in SERVICES:
        assert _leads_to(operators, f"/v1/operator/services/{name}/parked") == name
    for path, name in (("session", "registry"), ("offices/9970100018", "registry")):
        assert _leads_to(operators, f"/v1/operator/{path}") == name
        assert _leads_to(public, f"/v1/operator/{path}") is None
    assert _leads_to(operators, "/v1/messages") is None


def test_the_topics_of_a_cluster_are_those_that_serve_would_make() -> None:
    made = list(yaml.safe_load_all((sources.ROOT / "deploy" / "topics.yaml").read_text(encoding="utf-8")))
    assert [topic["metadata"]["name"] for topic in made] == [topic_of(name) for name in SERVICES]
    for topic in made:
        spec = topic["spec"]
        assert spec == {"partitions": 48, "replicas": 3, "config": topic_settings(3)}


def test_the_front_refuses_in_our_words() -> None:
    answers = [json.loads(body) for body in re.findall(r"respond `(.+)`", _CADDYFILE.read_text(encoding="utf-8"))]
    assert {answer["code"] for answer in answers} == {"TDK-NOT-FOUND", "TDK-ENGINE-AWAY"}
    for answer in answers:
        assert answer == Problem(answer["code"]).body()


def test_the_front_speaks_tls_1_3_only_and_says_who_asks() -> None:
    text = _CADDYFILE.read_text(encoding="utf-8")
    assert "protocols tls1.3" in text
    assert all("import tls" in block for block in re.findall(r"^https://.*?^\}", text, re.MULTILINE | re.DOTALL))
    assert "header_up +Forwarded" in text, "our word stands behind the client's own, and is the one believed"
    compose = yaml.safe_load(_COMPOSE.read_text(encoding="utf-8"))
    address = compose["services"]["caddy"]["networks"]["front"]["ipv4_address"]
    assert compose["services"]["registry"]["environment"]["TODOKE_TRUSTED_FRONT"] == address


def test_hadolint_has_nothing_to_say() -> None:
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    said = subprocess.run([program, _DOCKERFILE], capture_output=True, text=True, check=False)
    assert said.stdout + said.stderr == ""
    assert said.returncode == 0


_SHOWN_AS = ("", "_total", "_count", "_sum", "_bucket")


def _metrics_of(text: str) -> set[str]:
    return set(re.findall(r"\btodoke_[a-z_]+", text))


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    alerts = yaml.safe_load((_WATCH / "alerts.yml").read_text(encoding="utf-8"))
    board = json.loads((_WATCH / "dashboard.json").read_text(encoding="utf-8"))
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] in ("page", "warn") for rule in rules)
    asked = _metrics_of(" ".join(rule["expr"] for rule in rules))
    drawn = _metrics_of(" ".join(target["expr"] for panel in board["panels"] for target in panel["targets"]))
    there = {metric.name + end for metric in Metrics().registry.collect() for end in _SHOWN_AS}
    assert asked | drawn <= there
    worrying = _metrics_of((sources.ROOT / "docs" / "operating.md").read_text(encoding="utf-8").split("## Who asks")[0])
    quiet = {"todoke_outbox_rows", "todoke_lag_events", "todoke_reconciling"}  # beside another one that is watched
    watched = {name.removesuffix(end) for name in asked for end in _SHOWN_AS[1:]} | asked
    assert {name.removesuffix("_total") for name in worrying - quiet} <= watched
