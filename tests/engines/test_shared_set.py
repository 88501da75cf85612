"""The engines that all tests of a run share."""

import socket
from urllib.parse import urlsplit

from todoke.engines import Addresses


def test_each_engine_of_the_run_accepts_connections(engines: Addresses) -> None:
    for host, port in (
        engines.kafka.split(":"),
        (urlsplit(engines.postgres).hostname, urlsplit(engines.postgres).port),
        (urlsplit(engines.s3.endpoint).hostname, urlsplit(engines.s3.endpoint).port),
    ):
        with socket.create_connection((host, int(port or 0)), timeout=2):
            pass
