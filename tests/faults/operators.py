"""An operator at the operators' listener of a stack."""

from typing import Any

import httpx

from tests.faults.stack import Stack
from todoke.relay.testing import operator_token

WORD = {"reason": "試しています", "ticket": "OPS-7"}


class Operator:
    """Somebody with a session; `did` answers what was answered, and fails on a refusal."""

    def __init__(self, stack: Stack, token: str) -> None:
        self._url = f"http://127.0.0.1:{stack.port + 1}/v1/operator"
        self._headers = {"Authorization": f"Bearer {token}"}

    @classmethod
    async def of(cls, stack: Stack) -> "Operator":
        """Logged in."""
        async with stack.runtime("registry") as runtime:
            return cls(stack, operator_token(runtime.shared))

    async def did(self, method: str, path: str, body: Any = WORD) -> Any:
        """Ask for something below `/v1/operator`."""
        async with httpx.AsyncClient(timeout=30) as http:
            answer = await http.request(method, self._url + path, json=body, headers=self._headers)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None
