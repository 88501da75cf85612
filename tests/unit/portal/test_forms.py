"""The fields of a form."""

import pytest

from services.portal.forms import Form


@pytest.mark.parametrize(
    ("text", "version"),
    [("7", 7), ("999999999", 999999999), ("1" * 10, 0), ("9" * 5000, 0), ("-1", 0), ("x", 0), ("", 0), ("²", 0)],
)
def test_a_version_is_a_small_number_or_none(text: str, version: int) -> None:
    assert Form([("version", text)]).version == version
    assert Form([]).version == 0
