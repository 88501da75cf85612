"""One running product for the tests that only use it."""

from collections.abc import Iterator

import pytest

from tests.spine.product import Product


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A whole product starts slowly on a busy machine."""
    for item in items:
        if "tests/spine/" in str(item.path):
            item.add_marker(pytest.mark.long)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """`todoke up --demo`, running."""
    made = Product(tmp_path_factory.mktemp("product") / "home")
    try:
        made.start()
        yield made
    finally:
        made.end()
