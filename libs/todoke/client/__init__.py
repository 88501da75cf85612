"""The Python client of Todoke: typed, blocking (`Client`) and asynchronous (`AsyncClient`).

It retries safely, keeps one session fresh, checks hashes of what it fetches, and verifies receipts offline. It knows
the public API only and needs nothing of the services.
"""

from todoke.client.core import Patience, Upload
from todoke.client.drivers import DEFAULT_URL, AsyncClient, Client
from todoke.client.errors import (
    ApiError,
    ClientError,
    HashMismatch,
    NotLoggedIn,
    ReceiptInvalid,
    Unreachable,
    Unreadable,
)
from todoke.client.operations import Filters, Outgoing
from todoke.client.receipts import verify_receipt
from todoke.client.session import FileStore, MemoryStore, Session, SessionStore

__all__ = [
    "DEFAULT_URL",
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "FileStore",
    "Filters",
    "HashMismatch",
    "MemoryStore",
    "NotLoggedIn",
    "Outgoing",
    "Patience",
    "ReceiptInvalid",
    "Session",
    "SessionStore",
    "Unreachable",
    "Unreadable",
    "Upload",
    "verify_receipt",
]
