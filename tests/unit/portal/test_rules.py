"""What the portal decides without asking anybody."""

import pytest

from services.portal.rules import Origin, begins_with_kj, half_width, is_kj_id, place_within, whom_to_ask
from todoke.client.office_shapes import User

HOST = "portal.example"
OURS = "https://portal.example"


@pytest.mark.parametrize("place", ["/", "/received", "/messages/0197-ab?tab=findings&n=2", "/sent?cursor=a%3D%3D"])
def test_places_of_ours_are_gone_to(place: str) -> None:
    assert place_within(place) == place


@pytest.mark.parametrize(
    "place",
    [
        "",
        "received",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: b=c",
        "/a\tb",
        " /a",
        "/@evil.example",
        "/login",
        "/login/office",
        "/logout",
        "/static/todoke.css",
        "/session/list",
    ],
)
def test_nothing_leads_away_or_back_to_the_login(place: str) -> None:
    assert place_within(place) == "/"


@pytest.mark.parametrize(
    ("site", "origin", "host", "is_own"),
    [
        ("same-origin", OURS, HOST, True),
        (None, OURS, HOST, True),  # a browser before Fetch metadata
        ("same-origin", None, HOST, True),
        ("same-site", OURS, HOST, False),
        ("cross-site", "https://evil.example", HOST, False),
        ("none", None, HOST, False),
        ("same-origin", "https://evil.example", HOST, False),
        (None, "https://portal.example.evil", HOST, False),
        (None, "https://sub.portal.example", HOST, False),
        (None, "https://portal.example:8443", HOST, False),
        (None, "null", HOST, False),
        (None, "", "", False),
        (None, "file://", "", False),
        (None, None, HOST, False),
    ],
)
def test_only_a_page_of_this_very_host_sends_our_forms(
    site: str | None, origin: str | None, host: str | None, *, is_own: bool
) -> None:
    assert Origin(site, origin, host).is_own() is is_own


def test_ids_are_read_as_they_were_meant() -> None:
    assert half_width("　ｃ０００００００００１ ") == "c0000000001"
    assert begins_with_kj("kj99")
    assert is_kj_id("KJ999970100018")
    assert is_kj_id("KJ9999A0100019")
    assert not is_kj_id("KJ99997010001")
    assert not is_kj_id("KJ999970100018\n")


def person(n: int, role: str = "admin", state: str = "active") -> User:
    return User.model_validate({"id": f"c{n}", "name": f"見本 {n}", "roles": [role], "state": state})


@pytest.mark.parametrize(
    ("users", "names"),
    [
        ([], ""),
        ([person(1)], ""),  # nobody is told to ask themselves
        ([person(2, "staff"), person(3, state="ended")], ""),
        ([person(1, "staff"), person(2), person(3, "viewer")], "見本 2さん"),
        ([person(2), person(3), person(4)], "見本 2さん、見本 3さん、見本 4さん"),
        ([person(2), person(3), person(4), person(5)], "見本 2さん、見本 3さん、見本 4さんなど"),
    ],
)
def test_e_605_names_the_administrators_who_can_help(users: list[User], names: str) -> None:
    assert whom_to_ask(users, "c1") == names
