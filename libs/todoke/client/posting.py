"""Many messages → the service: some dozen in one request, in order, each under its own key."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus

from todoke.client.drivers import Client
from todoke.client.errors import ApiError
from todoke.client.operations import Outgoing
from todoke.client.shapes import BatchResult, Submission

BATCH_MESSAGES_MAX = 50
"""Messages of one request; the service takes 200, but a progress bar should move and a repetition stay cheap."""

BATCH_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of one request; the service takes 60 MiB, a slow line should not lose so much at once."""


def post(client: Client, messages: Sequence[Outgoing]) -> Iterator[Submission | ApiError]:
    """Send messages in the order given and answer for each, in this order: a submission, or why it was refused.

    What goes to one office arrives in this order. Under the same keys all of it may be repeated without harm.

    Raises:
        ClientError: the service is away, or the session has ended; the messages without an answer may or may not have
            been sent.
    """
    for group in _groups(messages):
        yield from _post_group(client, group)


def _groups(messages: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    group: list[Outgoing] = []
    room = BATCH_BYTES_MAX
    for message in messages:
        size = sum(len(file.content) for file in message.files)
        if group and (size > room or len(group) == BATCH_MESSAGES_MAX):
            yield group
            group, room = [], BATCH_BYTES_MAX
        group.append(message)
        room -= size
    if group:
        yield group


def _post_group(client: Client, group: list[Outgoing]) -> Iterator[Submission | ApiError]:
    if len(group) == 1:
        yield _post_one(client, group[0])
        return
    try:
        results = client.send_batch(group)
    except ApiError as refused:
        if is_passing(refused):
            raise
        # One message may spoil a request for all, and a bound may be set lower than ours: each for itself.
        for message in group:
            yield _post_one(client, message)
        return
    for message, result in zip(group, results, strict=True):
        yield _outcome(result) or _post_one(client, message)


def _outcome(result: BatchResult) -> Submission | ApiError | None:
    """What a batch says of one message; None when that may pass."""
    if result.submission is not None:
        return result.submission
    if result.problem is None:
        return None
    refused = ApiError(result.status, result.problem)
    return None if is_passing(refused) else refused


def _post_one(client: Client, message: Outgoing) -> Submission | ApiError:
    try:
        return client.send(
            message.recipient,
            message.sequence,
            message.text,
            message.files,
            message.idempotency_key,
            allow_resend=message.allow_resend,
        )
    except ApiError as refused:
        if is_passing(refused):
            raise
        return refused


def is_passing(refused: ApiError) -> bool:
    """True when a refusal says nothing about the message: the session has ended, or the service is busy or away."""
    return (
        refused.status
        in (
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.TOO_MANY_REQUESTS,
        )
        or refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )
