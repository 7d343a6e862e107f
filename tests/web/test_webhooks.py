"""POST /webhooks/ACCOUNT over a real socket: which webhooks are accepted, what is stored, what is answered."""

import asyncio
import gzip
import hashlib
import hmac
import io
import json
import logging
import time

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Webhook
from onboarding_worker.providers.webhooks.contract import LARGEST
from onboarding_worker.runtime.web_application import no_wake_up
from onboarding_worker.web.events.request_body import Room, Unacceptable
from onboarding_worker.web.webhooks import routes
from tests.suite.waiting import ENDS_WITHIN
from tests.web.described import check_answer
from tests.web.site import HOOKS, Answer, renamed, status_of, until

VERIFIED = {
    "final": True,
    "status": {"overall": "APPROVED"},
    "scanRef": "scan-1",
    "clientId": "C-1",
    "finishTime": 1795000000,
    "data": {"docFirstName": "Quirin", "docLastName": "Ostrander"},
}
DONE = {"function": "RESULTS_RETRIEVED", "functionResult": "SUCCESS", "entityId": "e-1", "requestId": "r-1"}
SECRET = HOOKS["PATH_SECRET"]


def raw(webhook):
    return json.dumps(webhook).encode()


async def send(site, path, body, *, key=None, check=True, **headers):
    """The answer, which the OpenAPI document must have."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        given["Idenfy-Signature"] = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    data = io.BytesIO(body) if isinstance(body, bytes) else body
    async with site.client.post(f"{site.prefix}/webhooks/{path}", data=data, headers=given) as response:
        answer = await Answer.of(response)
    check_answer("post", "/webhooks/{account}/{rest}" if "/" in path else "/webhooks/{account}", answer)
    return answer


def kept(site):
    with site.parts.database.read() as connection:
        return connection.execute(sa.select(Webhook.__table__).order_by(Webhook.id)).all()


@pytest.mark.parametrize("key", ["HOOK", "OLD_HOOK"])
async def test_each_of_the_keys_lets_a_webhook_in_and_it_is_kept_once(start, url, key):
    site = await start(url)
    answers = [await send(site, "kyc", raw(VERIFIED), key=HOOKS[key], Idenfy_Event_Type="X") for _ in range(2)]
    assert [(one.status, one.body["state"]) for one in answers] == [(200, "taken"), (200, "duplicate")]
    (row,) = kept(site)
    assert (row.source, row.event, row.encrypted) == ("account/kyc", "X", None)  # an event that says nothing
    assert "Quirin" not in repr(row)


async def test_a_copy_is_known_at_the_address_of_another_account_of_the_same_providers_account(start, url):
    site = await start(url)
    answers = [await send(site, account, raw(VERIFIED), key=HOOKS["HOOK"]) for account in ("twin", "kyc", "twin")]
    assert [one.body["state"] for one in answers] == ["taken", "duplicate", "duplicate"]
    assert len(kept(site)) == 1


async def test_what_was_taken_is_worked_off_right_away(start, url):
    site = await start(url)
    await send(site, "kyc", raw(VERIFIED), key=HOOKS["HOOK"], Idenfy_Event_Type="IDENTIFICATION_AUTO_FINISHED")
    await until(lambda: kept(site)[0].attempts == 1)  # unmatched yet, so it is tried again
    assert (kept(site)[0].state, kept(site)[0].detail) == ("waiting", "no session here matches it")


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("kyc", "another-key", 401),
        ("kyc", None, 401),
        ("mute", HOOKS["HOOK"], 401),  # without keys nothing is believed
        ("nobody", HOOKS["HOOK"], 404),
        ("au", None, 401),
        ("au/wrong/r-1", None, 401),
        ("au//r-1", None, 401),
        (f"au/r-1/{SECRET}", None, 401),
        (f"au/{SECRET}", None, 200),
        (f"au/{SECRET}/r-1", None, 200),
        (f"au/{SECRET}/r-1/more", None, 200),
    ],
)
async def test_who_is_not_the_provider_is_refused_and_nothing_is_kept(site, path, key, status):
    answer = await send(site, path, raw(DONE), key=key)
    assert answer.status == status
    assert len(kept(site)) == (status == 200)


async def test_a_signature_of_other_bytes_is_refused(site):
    forged = hmac.new(HOOKS["HOOK"].encode(), raw(VERIFIED), hashlib.sha256).hexdigest()
    assert (await send(site, "kyc", raw(VERIFIED) + b" ", Idenfy_Signature=forged)).status == 401
    assert (await send(site, "kyc", raw(VERIFIED), Idenfy_Signature=forged.upper())).status == 401
    assert (await send(site, "kyc", raw(VERIFIED), Idenfy_Signature=forged)).status == 200


async def test_what_cannot_be_read_is_not_to_be_sent_again(site):
    broken = await send(site, f"au/{SECRET}/r-1", b"{")
    assert broken.problem(400) == "the body is not JSON at character 2"
    assert kept(site) == []
    assert (await send(site, "kyc", b"{", key=HOOKS["HOOK"])).status == 200
    assert kept(site)[0].detail == "the body is not JSON at character 2"


async def test_the_answer_says_in_words_why_a_body_cannot_be_read(site, subtests):
    for body, why in [
        (b"[1]", "the body is not a JSON object"),
        (b"\xff", "the body is not UTF-8"),
        (b'{"a": 1, "a": 2}', "the body has the same key twice in one object"),
        (b'{"a": 1e400}', "the body has a number that is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "the body has a number that is too large"),
        (b'{"a": NaN}', "the body is not JSON"),
        (b'{"a": ' * 40 + b"1" + b"}" * 40, "the body has objects or lists nested more than 32 levels deep"),
    ]:
        with subtests.test(body=body, why=why):
            assert (await send(site, f"au/{SECRET}/r-1", body)).problem(400) == why


async def test_a_strangers_body_is_not_waited_for(start, sqlite_url):
    site = await start(sqlite_url, body_seconds=0.05)

    async def drop_by_drop():
        yield b"{"
        await asyncio.sleep(60)

    for path in ("kyc", "au/wrong/r-1"):
        answer = await asyncio.wait_for(send(site, path, drop_by_drop()), ENDS_WITHIN)
        assert answer.status == 401
    assert (await send(site, f"au/{SECRET}/r-1", drop_by_drop())).status == 408
    unsigned = {"Idenfy_Signature": "0" * 64}
    assert (await send(site, "kyc", drop_by_drop(), **unsigned)).status == 408


async def test_what_is_too_large_or_compressed_is_refused_unread(site):
    async def endless():
        for _ in range(100):
            yield b" " * 65536

    assert (await send(site, "kyc", b" " * (LARGEST + 1), key=HOOKS["HOOK"])).status == 413
    assert (await send(site, "kyc", endless(), Idenfy_Signature="0" * 64)).status == 413
    assert (await send(site, "kyc", b"{}", key=HOOKS["HOOK"], Content_Encoding="gzip")).status == 415
    large = raw({**VERIFIED, "data": "x" * (LARGEST - 1000)})
    assert (await send(site, "kyc", large, key=HOOKS["HOOK"])).status == 200
    assert len(kept(site)) == 1


async def test_a_body_that_one_of_several_headers_calls_compressed_is_refused_unread(site):
    signed = ("Idenfy-Signature", "0" * 64)
    for encodings in (("identity", "gzip"), ("gzip", "identity")):
        headers = [signed, *(("Content-Encoding", one) for one in encodings)]
        data = io.BytesIO(gzip.compress(b" " * (LARGEST + 1)))
        async with site.client.post("/webhooks/kyc", data=data, headers=headers) as response:
            assert response.status == 415


async def test_what_is_wrong_with_a_postgresql_database_is_never_the_webhooks_fault(start, empty_postgresql_url):
    site = await start(empty_postgresql_url)
    with renamed(site.parts.database, "webhook", "event"):
        answer = await send(site, "kyc", raw(VERIFIED), key=HOOKS["HOOK"])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert (await send(site, "kyc", raw(VERIFIED), key=HOOKS["HOOK"])).body == {"state": "taken"}


async def test_while_the_database_is_away_the_provider_is_to_send_it_again(site, monkeypatch):
    def away(*_arguments, **_how):
        raise sa.exc.OperationalError(None, None, OSError("gone"), hide_parameters=True)

    monkeypatch.setattr(site.parts.webhooks, "keep", away)
    answer = await send(site, "kyc", raw(VERIFIED), key=HOOKS["HOOK"])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    monkeypatch.undo()
    assert (await send(site, "kyc", raw(VERIFIED), key=HOOKS["HOOK"])).body == {"state": "taken"}


async def test_the_end_of_an_outage_is_logged_after_a_look_that_was_made(monkeypatch, caplog):
    monkeypatch.setattr(routes, "LOOK_SECONDS", 0.01)
    is_away, is_ready, made, asked = True, True, [], []

    def work():
        made.append(1)
        if is_away:
            raise sa.exc.OperationalError(None, None, OSError("gone"), hide_parameters=True)
        return set()

    def readiness():
        asked.append(1)
        return is_ready

    def logged():
        return [record.getMessage() for record in caplog.records if record.name == routes.__name__]

    processing = routes.Processing(work, no_wake_up, asyncio.to_thread, readiness)
    working = asyncio.create_task(processing.keep_working())
    await until(lambda: made)
    is_ready = False  # as readiness finds a little later: no look is made
    known = len(asked)
    await until(lambda: len(asked) > known + 3)
    assert len(logged()) == 1
    is_away, is_ready = False, True
    await until(lambda: len(logged()) == 2)
    working.cancel()


async def test_it_works_mounted_in_another_application(tmp_path, clock, sqlite_url):
    from tests.web.site import Site

    async with Site(sqlite_url, tmp_path, clock).mounted("/inside") as site:
        assert (await send(site, f"au/{SECRET}/r-1", raw(DONE))).status == 200
        assert (await send(site, "kyc", raw(VERIFIED), key=HOOKS["HOOK"])).status == 200


async def test_no_secret_and_nothing_that_was_sent_is_logged(site, caplog):
    with caplog.at_level(logging.DEBUG):
        await send(site, f"au/{SECRET}/r-1", raw(DONE))
        await send(site, "kyc", raw(VERIFIED), key=HOOKS["HOOK"])
        await send(site, "kyc", raw(VERIFIED))
        await send(site, "ona@example.com", raw(VERIFIED))
    logged = caplog.text
    assert "POST /webhooks/{account}/{rest} 200" in logged
    assert not any(word in logged for word in (SECRET, "Quirin", "scan-1", "C-1", "ona@", HOOKS["HOOK"]))


def test_large_bodies_share_a_room_that_small_ones_need_none_of():
    room = Room(100, free=10)
    assert room.take(60)
    assert not room.take(60)
    room.give_back(60)
    assert room.take(100)
    assert isinstance(Unacceptable(503, "full"), Exception)


@pytest.mark.parametrize("twice", ["Idenfy-Signature", "idenfy-event-type", "Content-Type", "X-Other-Signature"])
async def test_a_webhook_with_two_headers_that_show_whose_it_is_is_refused(site, twice):
    body = raw(VERIFIED)
    right = hmac.new(HOOKS["HOOK"].encode(), body, hashlib.sha256).hexdigest()
    headers = [("Idenfy-Signature", right), (twice, "a"), (twice.upper(), right)]
    assert await status_of(site.client, f"{site.prefix}/webhooks/kyc", headers, body) == 400
    assert kept(site) == []


async def test_large_webhooks_are_read_one_after_another_so_that_threads_are_left_for_events(site, monkeypatch):
    at_work, most = [], []

    def read(*given):
        at_work.append(given)
        time.sleep(0.02)  # the others come meanwhile
        most.append(len(at_work))
        at_work.pop()
        return "not read here"

    monkeypatch.setattr(routes, "_read", read)
    bodies = [raw(VERIFIED | {"scanRef": str(number), "filler": "x" * routes.AT_ONCE}) for number in range(4)]
    answers = await asyncio.gather(*[send(site, "kyc", body, key=HOOKS["HOOK"]) for body in bodies])
    assert ([answer.status for answer in answers], most) == ([401] * 4, [1] * 4)
