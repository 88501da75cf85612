"""What every page says to the browser, and how its cookies are bound."""

from collections.abc import AsyncIterator
from dataclasses import replace
from http.cookies import SimpleCookie

import httpx
import pytest
from fastapi import Response

from services.portal.app import _portal
from services.portal.portal import Portal
from services.portal.screens import entry
from todoke.relay.service import Shared
from todoke.relay.web import application


@pytest.fixture
async def portal(shared: Shared) -> AsyncIterator[Portal]:
    runtime = await shared.runtime("portal")
    portal = _portal(runtime)
    yield portal
    await portal.api.close()
    await runtime.db.close()


@pytest.mark.parametrize("path", ["/login", "/login/office", "/logged-out"])
async def test_every_page_keeps_to_itself(portal: Portal, shared: Shared, path: str) -> None:
    async def leave(_: object) -> bool:
        return False

    async def health() -> dict[str, object]:
        return {"status": "ready", "parts": {}}

    app = application("t", entry.routers(portal, leave), metrics=shared.metrics, health=health, ids=shared.ports.ids)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
        headers = (await client.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize(("secure", "name"), [(True, "__Host-todoke-office"), (False, "todoke-office")])
async def test_under_https_a_cookie_is_bound_to_the_very_host(portal: Portal, name: str, *, secure: bool) -> None:
    """RFC 6265bis section 4.1.3.2: Secure, the whole site, no domain; anything else a browser would not take."""
    response = Response()
    replace(portal, secure=secure).set_cookie(response, "office", "value")
    [(said, cookie)] = SimpleCookie(response.headers["set-cookie"]).items()
    assert (said, cookie.value) == (name, "value")
    assert (bool(cookie["secure"]), cookie["path"], cookie["domain"]) == (secure, "/", "")
    assert (bool(cookie["httponly"]), cookie["samesite"]) == (True, "lax")
