"""Every bound of the relay, with unit and reason. Those an office can meet are served by `GET /v1/limits`."""

from pydantic import BaseModel, ConfigDict

MEBIBYTE = 1024 * 1024

WAITING_MAX = 400
"""Uploads, or fetches, of one office that wait for their turn in a process, if its reserve is not larger."""


class Limits(BaseModel):
    """Bounds that a set-up may change (`TODOKE_LIMITS__…`)."""

    model_config = ConfigDict(frozen=True)

    files_per_message_max: int = 30
    """Files of one message, attachments included."""
    attachments_per_message_max: int = 10
    """Attachments (pdf jpg jpeg png) of one message."""
    file_bytes_max: int = 10 * MEBIBYTE
    """One file."""
    message_bytes_max: int = 30 * MEBIBYTE
    """All files of one message together."""
    batch_messages_max: int = 200
    """Messages of one `POST /v1/batches`."""
    batch_bytes_max: int = 60 * MEBIBYTE
    """All parts of one `POST /v1/batches` together."""
    text_characters_max: int = 1000
    """Text of a message."""
    file_name_bytes_max: int = 255
    """A file name in UTF-8: what every file system can hold."""
    requests_per_minute_user: int = 600
    """Requests of one user, without file GETs and receipts."""
    sends_per_second_office: float = 20
    """Messages of one office, sustained; `sends_reserve_office` may come at once."""
    sends_reserve_office: int = 400
    """Messages of one office at once: one more month end than a large office has."""
    bytes_per_hour_office: int = 2 * 1024 * MEBIBYTE
    """Uploaded bytes of one office."""
    bodies_at_once_office: int = 2
    """Uploads of one office that a process receives at a time: with one of them sealed, a quarter of its memory stays
    for others."""
    uploads_at_once_office: int = 1
    """Uploads of one office that it works on at a time, about sixty a second: its others wait, and nobody else's do."""
    long_uploads_at_once_office: int = 1
    """The same for checks and for uploads of more than a mebibyte: each keeps processors and disks busy for long."""
    fetches_at_once_office: int = 2
    """Files and ZIPs of one office that a process makes ready at a time."""
    body_seconds_max: float = 120
    """A request body must have arrived in this time: a slow upload may not hold memory for ever."""
    bytes_in_flight_max: int = 256 * MEBIBYTE
    """Uploaded, sealed and fetched parts that one process holds in memory at a time; above it 503 with Retry-After."""
    wait_seconds_max: float = 2
    """Longest `wait_for` and longest wait for a message younger than a minute."""
    page_items_max: int = 200
    """Rows of one list page."""
    retain_content_days: int = 90
    """Contents are erased so long after an end state."""
    remind_after_days: int = 7
    """Not collected: the recipient is reminded."""
    expire_after_days: int = 90
    """Not collected: the message expires."""

    def waiting_max(self) -> int:
        """Uploads, or fetches, of one office that may wait: as many as its reserve says that it may send at once."""
        return max(WAITING_MAX, self.sends_reserve_office)


STREAMS_PER_USER_MAX = 6
"""Open streams of one user in one process: a browser opens no more connections to one address over HTTP/1.1."""

WEBHOOKS_MAX = 10
"""Webhooks of one office."""

MAIL_TARGETS_MAX = 20
"""Mail addresses of one owner, a user or an office."""

SEARCHED_MAX = 5000
"""Messages that one search call looks through."""

JSON_BODY_BYTES_MAX = 64 * 1024
"""A JSON body: the longest is a receipt of thirty hashes or a search."""

FINDINGS_MAX = 200
"""Findings that an event or an answer lists; the counts are of all."""

BATCH_RECORDS_MAX = 500
"""Records of one consumer batch: enough to make a transaction cheap, few enough to redo."""

BATCH_SECONDS_MAX = 20.0
"""Longest time one batch may take before it is cancelled and retried smaller."""

OUTBOX_ROWS_MAX = 2000
"""Outbox rows that one relay round reads."""

KAFKA_BATCH_BYTES_MAX = 786_432
"""Bytes of one producer batch, under the broker's 1 MB (RecordTooLarge otherwise)."""

RELAY_IDLE_SECONDS_MAX = 0.5
"""The relay's longest pause between two looks at the outbox when nobody wakes it."""

PARKS_IN_A_ROW_MAX = 5
"""So many parked messages in a row are our fault, not theirs: the breaker trips."""

PARKS_IN_TEN_MINUTES_MAX = 20
"""As above, spread out."""

NO_PROGRESS_SECONDS_MAX = 60.0
"""Lag without progress for so long: exit 70, the supervisor starts the process again."""

EXIT_NO_PROGRESS = 70
"""EX_SOFTWARE of sysexits.h: the process gave itself up and wants to be started again."""
