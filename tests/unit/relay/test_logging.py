"""What libraries log goes through the bridge: their words, never what they put into them."""

import logging

import pytest
import structlog

from todoke.relay.service import _Bridge


@pytest.mark.parametrize(
    ("message", "arguments", "text"),
    [
        ("could not send to %s", ("佐藤花子",), "could not send to %s"),
        ("Task exception was never retrieved\nfuture: <Task exception=ValueError('佐藤花子')>", (),
         "Task exception was never retrieved"),
    ],
)  # fmt: skip
def test_a_library_line_holds_no_argument_and_no_text_of_an_exception(
    message: str, arguments: tuple[str, ...], text: str
) -> None:
    record = logging.LogRecord("lib", logging.ERROR, __file__, 1, message, arguments, None)
    with structlog.testing.capture_logs() as lines:
        _Bridge().emit(record)
    assert [line["text"] for line in lines] == [text]
    assert "佐藤" not in str(lines)
