"""What the address of a database says besides host and port."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.kit.topology import Topology
from todoke.relay import migrate
from todoke.relay.postgres import Database, DatabaseAway, connection_target

ADDRESS = "postgresql://admin:secret@db1,db2:6432/todoke?sslmode=verify-full&sslrootcert=/ca.pem"


async def test_a_role_of_a_service_does_not_speak_in_clear_when_tls_is_a_must(topology: Topology) -> None:
    """The engine of the tests has no TLS."""
    for address, comes_in in ((topology.dsn, True), (f"{topology.dsn}?sslmode=require", False)):
        database = await Database.open(
            "storage", address=address, passwords=topology.secrets.password, ports=topology.ports
        )
        try:
            async with database.connection() as db:
                assert await db.fetchval("SELECT current_user") == "storage_worker"
            assert comes_in
        except DatabaseAway:
            assert not comes_in
        finally:
            await database.close()


def test_a_role_of_a_service_is_given_all_of_the_address_but_the_administrators_name() -> None:
    assert connection_target(ADDRESS) == {"dsn": ADDRESS.replace("admin:secret@", "")}


@pytest.mark.parametrize(
    ("address", "environment", "tls"),
    [
        (ADDRESS, {}, ("verify-full", "/ca.pem")),
        ("postgresql://db/todoke", {"PGSSLMODE": "require"}, ("require", None)),
        ("postgresql://db/todoke", {"PGSSLMODE": "verify-ca", "PGSSLROOTCERT": "/env.pem"}, ("verify-ca", "/env.pem")),
        ("postgresql://db/todoke?sslmode=prefer", {}, ("disable", None)),
        ("postgresql://db/todoke", {}, ("disable", None)),
    ],
)
def test_the_program_of_the_schemas_speaks_tls_where_the_services_do(
    monkeypatch: pytest.MonkeyPatch, address: str, environment: dict[str, str], tls: tuple[str, str | None]
) -> None:
    for name in ("PGSSLMODE", "PGSSLROOTCERT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    query = parse_qs(urlsplit(migrate._as_owner(address, "storage", 3)).query)
    assert (query["sslmode"], query.get("sslrootcert", [None])) == ([tls[0]], [tls[1]])
    assert query["role"] == ["storage_owner"]
