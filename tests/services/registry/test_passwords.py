"""Which passwords are taken, why others are not, and that they expire where a set-up says so."""

from datetime import timedelta

import pytest

from services.registry.leaked import is_known
from services.registry.rules import PasswordRule, password_refusal
from todoke.relay.service import Shared
from todoke.relay.settings import RegistrySettings

from .conftest import MANAGER, OFFICE_PASSWORD, PERSON_PASSWORD, Login, Registry


@pytest.mark.parametrize(
    "known", ["PassWord", "ｐａｓｓｗｏｒｄ", "passwordpassword", "aaaaaaaaaaaaa", "12341234123412", "qwertyuiop123"]
)
def test_what_everybody_knows_is_known_in_any_dress(known: str) -> None:
    assert is_known(known)


@pytest.mark.parametrize("unknown", ["correct horse battery", "あさがおのたねをまいた朝", "", "xq7#vexq7#w"])
def test_a_sentence_is_not_known(unknown: str) -> None:
    assert not is_known(unknown)


@pytest.mark.parametrize(
    ("new", "rule", "code"),
    [
        ("a sentence of my own", "13-plus", None),
        ("twelve chars", "13-plus", "TDK-PASSWORD-SHORT"),
        ("x" * 201, "13-plus", "TDK-PASSWORD-LONG"),
        ("the old one, really", "13-plus", "TDK-PASSWORD-SAME"),
        ("ｔhe old one, really", "13-plus", "TDK-PASSWORD-SAME"),
        ("seven77", "legacy-8-16", "TDK-PASSWORD-SHORT"),
        ("eight888", "legacy-8-16", None),
        ("seventeen 7777777", "legacy-8-16", "TDK-PASSWORD-LONG"),
        ("あいうえおかきく", "legacy-8-16", "TDK-PASSWORD-CHARACTER"),
    ],
)
def test_a_password_is_refused_for_its_reason(new: str, rule: PasswordRule, code: str | None) -> None:
    assert password_refusal(new, "the old one, really", rule, known=False) == code


async def test_a_known_password_and_ones_own_id_are_refused_with_the_reason(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    for which, old, new in (
        ("person", PERSON_PASSWORD, "passwordpassword"),
        ("person", PERSON_PASSWORD, f"my id {MANAGER.c_id}"),
        ("office", OFFICE_PASSWORD, MANAGER.kj_id.lower()),
    ):
        body = {"which": which, "old": old, "new": new}
        refused = await registry.post("/v1/session/password", session, body)
        assert (refused.status_code, refused.json()["code"], refused.json()["number"]) == (
            422, "TDK-PASSWORD-KNOWN", "E-108",
        )  # fmt: skip
        assert "よく知られている" in refused.json()["title"]


@pytest.fixture
def _expiring(shared: Shared) -> None:
    shared.settings = shared.settings.model_copy(update={"registry": RegistrySettings(password_days=100)})


@pytest.mark.usefixtures("_expiring")
async def test_a_password_expires_where_a_set_up_says_so(registry: Registry) -> None:
    session = await registry.log_in(MANAGER)
    assert session["must_change"] == []
    dates = (await registry.get("/v1/office", session)).json()["password"]
    assert dates["expires_at"] is not None
    registry.clock.move(timedelta(days=101))
    session = await registry.log_in(MANAGER)
    assert session["must_change"] == ["person", "office"]
    assert session["expired_at"] == dict.fromkeys(("person", "office"), dates["expires_at"])
    assert (await registry.get("/v1/office", session)).json()["code"] == "TDK-PASSWORD-CHANGE"
    for which, old in (("person", PERSON_PASSWORD), ("office", OFFICE_PASSWORD)):
        body = {"which": which, "old": old, "new": f"{old}, the next"}
        assert (await registry.post("/v1/session/password", session, body)).status_code == 204
    session = (await registry.refresh(session["refresh_token"])).json()
    assert (session["must_change"], session["expired_at"]) == ([], {})


@pytest.mark.usefixtures("_expiring")
async def test_a_temporary_password_is_to_be_changed_whether_it_has_expired_or_not(registry: Registry) -> None:
    newcomer = Login("9970100216", "c0000000034", must_change=True)
    await registry.add(newcomer)
    registry.clock.move(timedelta(days=101))
    session = await registry.log_in(newcomer)
    assert session["must_change"] == ["person", "office"]
    assert set(session["expired_at"]) == {"office"}
