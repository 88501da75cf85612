"""Places and names of one office in the hands of another: cursors, ETags, stream ids, keys, sequences are worthless."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.services.ingest.conftest import Client
from tests.services.test_two_offices import PICTURE

from .conftest import FILE, KEY, NEWCOMER, OWNER, PARTNER, STRANGER, TEXT, Answer, Scene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.long]

LISTS = ("/v1/sent", "/v1/received")
STREAM_SECONDS = 10


@pytest.mark.parametrize("path", LISTS)
async def test_a_foreign_cursor_is_no_cursor(scene: Scene, path: str) -> None:
    for office in (STRANGER.office, PARTNER.office):
        mine = scene.token(office)
        for foreign in scene.owned.cursors.values():
            answers: list[tuple[Answer, list[str]]] = []
            for cursor in (foreign, foreign[:-2] + "AA", "rubbish"):
                scene.work.taken()
                answers.append((await scene.ask("GET", f"{path}?cursor={cursor}", mine), scene.work.taken()))
                body = {"box": path.rsplit("/", 1)[1], "text": "だれ", "cursor": cursor}
                assert (await scene.ask("POST", "/v1/search", mine, json=body)).status == 422
            assert all(each == answers[0] for each in answers), [work for _, work in answers]
            assert (answers[0][0].status, answers[0][0].json()["code"]) == (422, "TDK-CURSOR")


async def test_a_cursor_of_one_list_is_none_of_the_other(scene: Scene) -> None:
    mine = scene.token(OWNER.office)
    for path, other in (LISTS, LISTS[::-1]):
        assert (await scene.ask("GET", f"{path}?cursor={scene.owned.cursors[path]}", mine)).status == 200
        assert (await scene.ask("GET", f"{path}?cursor={scene.owned.cursors[other]}", mine)).status == 422


async def test_a_foreign_etag_is_never_confirmed(scene: Scene) -> None:
    for path in scene.owned.etags:
        etag = (await scene.ask("GET", path, scene.token(OWNER.office))).header("etag")
        for office in (STRANGER.office, PARTNER.office):
            mine = scene.token(office)
            bare = await scene.ask("GET", path, mine)
            asked = await scene.ask("GET", path, {**mine, "If-None-Match": etag})
            assert asked == bare
            assert asked.status == 200
            assert etag not in asked
        assert (await scene.ask("GET", path, {**scene.token(OWNER.office), "If-None-Match": etag})).status == 304


async def test_lists_that_are_equally_empty_have_etags_of_their_own(scene: Scene) -> None:
    strangers = ("9970100414", "9970100513", "9970100612")
    for path in scene.owned.etags:
        answers = [await scene.ask("GET", path, scene.token(office)) for office in strangers]
        assert len({answer.body for answer in answers}) == 1
        assert len({answer.header("etag") for answer in answers}) == len(strangers)


async def test_the_hash_of_a_file_confirms_nothing_to_a_stranger(scene: Scene) -> None:
    """The ETag of a file is its hash: whoever guesses the content must not learn that it was sent."""
    path, etag = f"/v1/messages/{scene.owned.delivered}/files/1", f'"{scene.owned.sha256}"'
    for named in (etag, f"W/{etag}", "*", '"other"'):
        for field in ("If-None-Match", "If-Match", "If-Range"):
            mine = {**scene.token(STRANGER.office), field: named, "Range": "bytes=0-3"}
            scene.work.taken()
            foreign, cost = await scene.ask("GET", path, mine), scene.work.taken()
            absent = await scene.ask("GET", path.replace(scene.owned.delivered, nothing(scene)), mine)
            assert (foreign, cost) == (absent, scene.work.taken())
            assert foreign.status == 404
    theirs = {**scene.token(PARTNER.office), "If-None-Match": etag}
    assert (await scene.ask("GET", path, theirs)).status == 304


def nothing(scene: Scene) -> str:
    return scene.nothing_like(scene.owned.delivered)


async def test_waiting_for_a_foreign_message_is_waiting_for_nothing(scene: Scene) -> None:
    mine = scene.token(STRANGER.office)
    for path in LISTS:
        seen = []
        for thing in (scene.owned.delivered, scene.owned.received, nothing(scene)):
            scene.work.taken()
            answer = await scene.ask("GET", path, mine, params={"wait_for": f"{thing}:delivered"})
            seen.append((answer.status, answer.body, scene.work.taken()))
        assert seen[0][0] == 200
        assert all(each == seen[0] for each in seen)


async def test_a_foreign_stream_id_resumes_nothing(scene: Scene) -> None:
    """With the owner's id a stranger's stream begins where one without an id begins, and tells the stranger's only."""
    await scene.settle()
    for named in (scene.owned.stream_id, "rubbish"):
        mine = {**scene.token(STRANGER.office), "Last-Event-ID": named}
        async with asyncio.timeout(STREAM_SECONDS), scene.http.stream("GET", "/v1/stream", headers=mine) as answer:
            events = told(answer)
            begun = await anext(events)
            assert begun.keys() == {"retry", "id"}
            assert begun["id"] != named
            sent = await scene.send(PARTNER.office, STRANGER.office, f"to-the-stranger-{named[:8]}", text="どうぞ")
            await scene.send(PARTNER.office, OWNER.office, f"to-the-owner-{named[:8]}", text="どうぞ")
            await scene.settle()
            event = await anext(events)
            assert (event["event"], json.loads(event["data"])["message_id"]) == ("delivered", sent["message_id"])


async def told(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """The events of a stream (server-sent events, section 9.2.6 of the HTML standard)."""
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


async def test_a_foreign_idempotency_key_is_a_fresh_one(scene: Scene) -> None:
    sent, costs = [], []
    newcomer = Client(scene.http, scene.token(NEWCOMER.office))
    body = {"recipient": PARTNER.office, "text": TEXT}
    for key in (KEY, "a-key-that-nobody-used", KEY + "2"):
        scene.work.taken()
        answer = await newcomer.send(body, [(FILE, PICTURE)], key=key)
        await asyncio.sleep(0)
        costs.append(scene.work.taken())
        assert answer.status_code == 202
        sent.append(answer.json())
    assert [each["replayed"] for each in sent] == [False] * 3
    assert scene.owned.delivered not in json.dumps(sent)
    assert costs[0] == costs[1] == costs[2]
    again = await Client(scene.http, scene.token(OWNER.office, user=OWNER.c_id)).send(body, [(FILE, PICTURE)], key=KEY)
    assert (again.json()["message_id"], again.json()["replayed"]) == (scene.owned.delivered, True)


async def test_a_foreign_sequence_is_free(scene: Scene) -> None:
    costs = []
    for key, sequence in (("s1", scene.owned.sequence), ("s2", "20250825129999")):
        scene.work.taken()
        answer = await scene.send(NEWCOMER.office, PARTNER.office, key, sequence=sequence, text="a")
        await asyncio.sleep(0)
        costs.append(scene.work.taken())
        assert answer["sequence"] == sequence
    assert costs[0] == costs[1]
    body = {"recipient": PARTNER.office, "sequence": scene.owned.sequence, "text": "b"}
    refused = await Client(scene.http, scene.token(NEWCOMER.office)).send(body, key="s3")
    assert refused.status_code == 409
    assert scene.owned.delivered not in refused.text


async def test_a_refresh_token_opens_its_own_session_only(scene: Scene) -> None:
    """The office in front of a refresh token is a hint of where to look, never a claim that is believed."""
    office, _, secret = scene.owned.refresh.partition(".")
    assert office == OWNER.office
    unknown = await refreshed(scene, f"{OWNER.office}.{'A' * 43}")
    assert unknown.status == 401
    for text in (f"{STRANGER.office}.{secret}", f"{STRANGER.office}.{'A' * 43}", f"{'9' * 60}.{secret}", f"x.{secret}"):
        assert await refreshed(scene, text) == unknown, text


async def refreshed(scene: Scene, token: str) -> Answer:
    return await scene.ask("POST", "/v1/session/refresh", json={"refresh_token": token})


async def test_sessions_of_colleagues_are_nobodys_business_either(scene: Scene) -> None:
    """Neither another person of the same office nor the office itself ends a person's session."""
    colleagues: list[dict[str, Any]] = [
        scene.token(OWNER.office, user="c0000000999"),
        scene.token(OWNER.office, roles=(), scope="usage"),
    ]
    for mine in colleagues:
        absent = await scene.ask("DELETE", f"/v1/session/{scene.nothing_like(scene.owned.session)}", mine)
        assert await scene.ask("DELETE", f"/v1/session/{scene.owned.session}", mine) == absent
        assert absent.status == 404
        listed = (await scene.ask("GET", "/v1/session/list", mine)).json()["items"]
        assert scene.owned.session not in [one["id"] for one in listed]
