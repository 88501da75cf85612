"""One stack for all fault tests: what one test breaks, the next must find mended."""

from collections.abc import Iterator

import pytest

from tests.faults.outside import Outside
from tests.faults.stack import Stack

SOAK_ONLY = {"test_crash_points", "test_restore"}
"""Minutes each: `make soak` runs them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Killing and coming back takes longer than other tests."""
    for item in items:
        if "tests/faults/" in str(item.path):
            if item.path.stem in SOAK_ONLY:
                item.add_marker(pytest.mark.soak)
            item.add_marker(pytest.mark.long)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def outside() -> Iterator[Outside]:
    """A mail server and a receiver of webhooks."""
    with Outside() as made:
        yield made


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, outside: Outside) -> Iterator[Stack]:
    """The product in processes."""
    with Stack(tmp_path_factory.mktemp("stack"), **outside.environment) as made:
        yield made


@pytest.fixture
def stack(whole: Stack) -> Stack:
    """The product, ready; whatever ended in the last test by intent runs again."""
    for name in [name for name in whole.processes if "#" in name]:
        if whole.processes[name].poll() is None:
            whole.kill(name)
        del whole.processes[name]
    for name, process in whole.processes.items():
        if process.poll() is not None:
            whole.start(name)
    for name in whole.engines.ended():
        whole.engines.start(name)
    whole.wait_until_ready()
    return whole
