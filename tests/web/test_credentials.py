from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.incoming import EventSender
from onboarding_worker.settings.outside import hash_of
from onboarding_worker.web.events.routes import Key, bearer, signature
from tests.web.site import BILLING, DATA, EVENT, FIRST, KEYS, SECOND, SIGNING, THIRD, bytes_of

BODY = bytes_of(EVENT)
SIGNUP, OTHER = (EventSender(name, frozenset()) for name in ("signup", "billing"))
SHOWN = [Key(SIGNUP, hash_of(FIRST), FIRST), Key(OTHER, hash_of(SECOND), SECOND), Key(OTHER, hash_of(THIRD), None)]


@pytest.mark.parametrize("key", [FIRST, SECOND])
async def test_each_of_the_keys_lets_its_holder_in(site, key):
    assert (await site.post(key=key)).status == 202
    assert (await site.post(key=None, Authorization=f"bearer   {key}")).status == 202


@pytest.mark.parametrize("key", [SIGNING, FIRST.encode()])
async def test_each_of_the_keys_signs_and_never_travels(site, key):
    assert (await site.post(BODY, key=None, **site.signed(BODY, key=key))).status == 202


async def test_one_of_several_signatures_is_enough(site):
    headers = site.signed(BODY)
    headers["webhook_signature"] = f"v1a,xyz v1,AAAA {headers['webhook_signature']}"
    assert (await site.post(BODY, key=None, **headers)).status == 202


def test_other_keys_are_strangers(subtests):
    for authorization, reason in [
        ("Bearer wrong", "the key is no sender's"),
        ("Bearer ", "the key is no sender's"),
        (f"Bearer {FIRST}x", "the key is no sender's"),
        (f"Bearer {FIRST[:-1]}", "the key is no sender's"),
        ("Bearer é\udcff", "the key is no sender's"),
        (f"Bearer {hash_of(FIRST)}", "the key is no sender's"),
        (f"Basic {FIRST}", "the Authorization header is not Bearer"),
        (FIRST, "the Authorization header is not Bearer"),
    ]:
        with subtests.test(authorization=authorization, reason=reason):
            assert bearer(authorization, SHOWN) == reason


async def test_strangers_learn_how_to_authenticate_and_their_body_is_not_read(site):
    for answer in (await site.post(key="wrong"), await site.post(key=None), await site.get("/events/1", key=None)):
        assert answer.problem(401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "wrong" not in str(answer.body)
    assert site.script.events == []


async def test_without_keys_all_posts_are_refused(start, sqlite_url):
    site = await start(sqlite_url, keys="")
    for answer in (
        await site.post(),
        await site.post(BODY, key=None, **site.signed(BODY)),
        await site.get("/events/1"),
    ):
        assert answer.problem(403) == "no sender has a key"


async def test_a_signature_that_does_not_fit_or_is_too_old_is_refused(site, subtests):
    for changes, reason in [
        ({"late": 301}, "webhook-timestamp is more than 5 minutes from our time"),
        ({"late": -301}, "webhook-timestamp is more than 5 minutes from our time"),
        ({"webhook_timestamp": "²"}, "webhook-timestamp is not in seconds since 1970"),
        ({"webhook_timestamp": "1e9"}, "webhook-timestamp is not in seconds since 1970"),
        ({"webhook_timestamp": "9" * 13}, "webhook-timestamp is not in seconds since 1970"),
        ({"key": b"another"}, "none of our keys made its signature"),
        ({"webhook_id": ""}, "the header webhook-id is missing"),
    ]:
        with subtests.test(changes=changes, reason=reason):
            assert (await site.post(BODY, key=None, **site.signed(BODY, **changes))).problem(401) == reason
            assert site.script.events == []


@pytest.mark.parametrize("changed", ["body", "webhook_id", "webhook_timestamp"])
async def test_all_that_is_signed_must_be_what_was_signed(site, changed):
    headers, body = site.signed(BODY), BODY
    if changed == "body":
        body = bytes_of(EVENT | {"id": "8"})
    elif changed == "webhook_id":
        headers["webhook_id"] = "msg_2"
    else:
        headers["webhook_timestamp"] = str(int(headers["webhook_timestamp"]) + 1)
    assert (await site.post(body, key=None, **headers)).problem(401) == "none of our keys made its signature"


@pytest.mark.parametrize("header", ["ce_type", "ce_id", "ce_subject"])
async def test_unsigned_headers_cannot_make_another_event_of_a_signed_one(site, header):
    data = bytes_of(EVENT["data"])  # which names no type: a copy of it would cancel the customer, or erase them
    value = "customer.erased" if header == "ce_type" else "8"
    for body in (data, BODY):
        answer = await site.post(
            body, key=None, content_type="application/json", **site.signed(body), **{header: value}
        )
        assert answer.problem(400) == "a signed event is all in its body, without ce- headers, which are not signed"
    assert site.script.events == []
    assert (await site.post(data, content_type="application/json", ce_type="onboarding.cancelled")).status == 202


async def test_large_bodies_of_who_only_says_that_it_signed_share_a_room(start, sqlite_url):
    site = await start(sqlite_url, room=100_000)
    large = bytes_of(EVENT | {"data": DATA | {"first_name": "x" * 200_000}})
    unsigned = site.signed(b"another body")
    answer = await site.post(large, key=None, **unsigned)
    assert answer.problem(503) == "too much is being sent at the same time"
    assert answer.headers["Retry-After"]
    assert (await site.post(BODY, key=None, **site.signed(BODY))).status == 202
    assert (await site.post(large)).status == 202  # a sender with a key is known


async def test_five_minutes_are_near_enough(site):
    for late in (299, -299):
        assert (await site.post(BODY, key=None, **site.signed(BODY, late=late))).status == 202


async def test_all_keys_of_a_sender_share_its_limit_and_another_sender_has_its_own(start, sqlite_url):
    site = await start(sqlite_url, keys=f'{KEYS}{BILLING}[web]\nevent_limit = "2/hour"')
    assert (await site.post(key=FIRST)).status == 202
    assert [(await site.post(BODY, key=None, **site.signed(BODY))).status for _ in range(2)] == [202, 429]
    assert (await site.post(key=THIRD)).status == 202


async def test_what_became_of_an_event_can_be_asked_for_with_a_signature(site):
    posted = await site.post()
    address, signed = posted.headers["Location"], site.signed(posted.body["id"].encode())
    assert (await site.get(address, key=None, **signed)).status == 404  # the script has kept nothing
    for content in (b"", b"x", address.encode()):
        assert (await site.get(address, key=None, **site.signed(content))).status == 401


async def test_a_copy_of_a_signature_asks_for_no_other_event(site):
    first, other = [(await site.post()).body["id"] for _ in range(2)]
    signed = site.signed(first.encode())
    assert (await site.get(f"/events/{first}", key=None, **signed)).status == 404
    for id_ in (other, first.upper(), first.replace("-", ""), "x", f"{first}%00"):
        assert (await site.get(f"/events/{id_}", key=None, **signed)).status == 401


HEADERS = st.text(st.characters(exclude_categories=["Cc"])) | st.sampled_from([f"Bearer {FIRST}", "v1,", "v1,AAAA"])


@given(HEADERS, HEADERS, HEADERS, st.binary())
def test_no_random_request_is_accepted_and_no_header_stops_the_server(id_, stamp, given_signature, body):
    headers = {"webhook-id": id_, "webhook-timestamp": stamp, "webhook-signature": given_signature}
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert isinstance(signature(headers, body, SHOWN, now), str)
    headers["webhook-timestamp"] = str(int(now.timestamp()))
    assert isinstance(signature(headers, body, SHOWN, now), str)
