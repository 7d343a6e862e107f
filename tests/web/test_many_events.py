"""Many events in one request: each has the answer that it would have alone."""

import asyncio
import json
import uuid
from collections import Counter

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Inbox, Job
from onboarding_worker.core.model.incoming import EventReceipt, Outcome
from onboarding_worker.events.cloudevents import LARGEST, MOST_EVENTS
from onboarding_worker.settings.outside import hash_of
from onboarding_worker.web.events.request_body import FREE
from onboarding_worker.web.events.routes import MOST_LISTS
from tests.suite.waiting import ENDS_WITHIN
from tests.web.site import CLOUD, DATA, EVENT, FIRST, KEYS, THIRD, bytes_of, until

LIST = "application/cloudevents-batch+json"


def requests(numbers, **changes):
    return [
        EVENT | {"id": f"e-{number}", "data": DATA | {"customer_id": f"C-{number}"} | changes} for number in numbers
    ]


def stored(site, table=Inbox):
    with site.parts.database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


@pytest.mark.both_databases
async def test_bad_events_cost_the_others_nothing_and_the_same_list_again_stores_none(start, url):
    site = await start(url, scripted=False)
    events = requests(range(MOST_EVENTS))
    bad = set(range(0, MOST_EVENTS, 100))
    for number in bad:
        events[number]["data"]["email"] = "no address"

    first, again = [await site.post(events, content_type=LIST) for _ in range(2)]

    assert (first.status, again.status) == (207, 207)
    assert {one["index"] for one in first.body["results"] if one["status"] == 422} == bad
    assert (first.body["taken"], first.body["refused"]) == (990, 10)
    assert (again.body["taken"], again.body["duplicate"], again.body["refused"]) == (0, 990, 10)
    assert (stored(site), stored(site, Job)) == (990, 990)
    known = [{**one, "duplicate": True} if one["status"] == 202 else one for one in first.body["results"]]
    assert again.body["results"] == known


async def test_each_event_is_answered_as_if_it_came_alone(start, sqlite_url):
    sender = f'[web.senders.all]\nkeys = ["{hash_of(THIRD)}"]\ntypes = ["onboarding.requested"]\nids = "C-*"\n'
    site = await start(sqlite_url, scripted=False, keys=KEYS + sender)
    await site.post(EVENT | {"id": "before", "data": DATA | {"customer_id": "C-first"}}, key=FIRST)
    await site.post(EVENT | {"id": "used"}, key=THIRD)
    events = [
        EVENT | {"id": "bad", "data": {"customer_id": "C-2", "email": "x"}},
        EVENT | {"id": "used", "data": DATA | {"first_name": "Ona"}},
        EVENT | {"id": "theirs", "data": DATA | {"customer_id": "C-first"}},
        EVENT | {"id": "id", "data": DATA | {"customer_id": "D-1"}},
        EVENT | {"id": "type", "type": "customer.erased"},
        EVENT | {"id": "time", "time": "yesterday"},
        EVENT | {"id": "deep", "data": json.loads("[" * 40 + "]" * 40)},
        EVENT | {"id": "large", "data": DATA | {"first_name": "a" * LARGEST}},
    ]

    alone = [await site.post(event, key=THIRD) for event in events]
    together = await site.post(events, key=THIRD, content_type=LIST)

    assert [answer.status for answer in alone] == [422, 409, 403, 403, 403, 400, 400, 413]
    assert together.status == 207
    results = together.body["results"]
    assert [one["event"] for one in results] == [event["id"] for event in events]
    assert [one["status"] for one in results] == [*(answer.status for answer in alone[:-1]), 400]
    assert [one["problems"] for one in results[:5]] == [answer.body["problems"] for answer in alone[:5]]
    assert together.body["refused"] == len(events)


async def test_an_event_twice_in_a_list_is_taken_once_and_a_customers_events_keep_their_order(start, sqlite_url):
    site = await start(sqlite_url, scripted=False)
    cancelled = EVENT | {"id": "8", "type": "onboarding.cancelled", "data": {"customer_id": "C-1"}}

    answer = await site.post([EVENT, EVENT, cancelled, EVENT | {"data": DATA | {"country": "LT"}}], content_type=LIST)

    results = answer.body["results"]
    assert [one["status"] for one in results] == [202, 202, 202, 409]
    assert [one.get("duplicate") for one in results] == [None, True, None, None]
    assert results[0]["id"] == results[1]["id"]
    assert (answer.body["taken"], answer.body["duplicate"], answer.body["refused"]) == (2, 1, 1)
    status = await site.get(results[0]["href"])
    assert status.body["job"]["state"] == "cancelled"


async def test_a_list_whose_events_are_all_accepted_is_answered_202(site):
    answer = await site.post(requests(range(150)), content_type=LIST)
    assert (answer.status, answer.body["taken"], "Location" in answer.headers) == (202, 150, False)
    assert [event.id for event in site.script.events] == [f"e-{number}" for number in range(150)]
    assert {event.sender.name for event in site.script.events} == {"signup"}
    assert max(map(len, site.script.chunks)) <= 100

    assert (await site.post([], content_type=LIST)).body["results"] == []


async def test_a_list_may_be_signed(start, sqlite_url):
    site = await start(sqlite_url)
    body = bytes_of(requests(range(3)))

    answer = await site.post(body, key=None, content_type=LIST, **site.signed(body))
    changed = await site.post(body + b" ", key=None, content_type=LIST, **site.signed(body))

    assert (answer.status, answer.body["taken"]) == (202, 3)
    assert {event.signed_at for event in site.script.events} == {site.clock().replace(microsecond=0)}
    assert changed.problem(401)


async def test_what_cannot_be_told_apart_is_refused_as_a_whole(site):
    for body in (b"{}", b"1", b"", b"[1", b"[,]", b"[1,]", b"[]]", b'{"events": []}', b"[\xff]", b"[" * 100_000):
        assert (await site.post(body, content_type=LIST)).problem(400).startswith("the body ")
    too_many = await site.post(requests(range(MOST_EVENTS + 1)), content_type=LIST)
    assert too_many.problem(400) == "the list has more than 1,000 events"
    assert site.script.events == []


async def test_a_list_waits_for_room_like_the_body_of_a_stranger(start, sqlite_url):
    site = await start(sqlite_url, room=10)
    assert (await site.post(b" " * (FREE + 11) + b"[]", content_type=LIST)).problem(503)
    assert (await site.post([], content_type=LIST)).status == 202


async def test_an_outage_halfway_leaves_events_to_send_again(site):
    def ends_at_250(event):
        if int(event.id.removeprefix("e-")) >= 250:
            raise sa.exc.OperationalError(None, None, Exception("gone"))
        return EventReceipt(Outcome.TAKEN, uuid.uuid4())

    site.script.answer = ends_at_250
    answer = await site.post(requests(range(1000)), content_type=LIST)

    assert (answer.status, answer.headers["Retry-After"]) == (207, "2")
    assert (answer.body["taken"], answer.body["unknown"]) == (200, 800)
    assert {one["status"] for one in answer.body["results"][200:]} == {503}
    assert len(site.script.chunks) == 3  # what would follow is not tried
    whole = await site.post(requests(range(250, 350)), content_type=LIST)
    assert whole.problem(503) == "the database cannot be used; send the same event again"


async def test_a_bug_that_one_event_of_a_list_uncovers_is_its_answer_alone(site):
    def uncovers(event):
        if event.id == "e-1":
            raise ValueError("box1@example.com")
        return EventReceipt(Outcome.TAKEN, uuid.uuid4())

    site.script.answer = uncovers
    answer = await site.post(requests(range(3)), content_type=LIST)

    assert [one["status"] for one in answer.body["results"]] == [202, 500, 202]
    assert "box1" not in json.dumps(answer.body)


async def test_each_event_of_a_list_counts_in_the_limit(start, sqlite_url):
    site = await start(sqlite_url, keys=KEYS + '[web]\nevent_limit = "60/hour"')
    assert (await site.post(requests(range(180)), content_type=LIST)).status == 202
    answer = await site.post(content_type=CLOUD)
    assert answer.problem(429)
    assert 7200 < int(answer.headers["Retry-After"]) <= 7260


async def test_a_sender_has_only_so_many_lists_on_their_way(site):
    go_on, loop = asyncio.Event(), asyncio.get_running_loop()

    def slow(_event):
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(ENDS_WITHIN)
        return EventReceipt(Outcome.TAKEN, uuid.uuid4())

    site.script.answer = slow
    lists = [asyncio.create_task(site.post(requests([number]), content_type=LIST)) for number in range(MOST_LISTS + 1)]
    await until(lambda: any(one.done() for one in lists))
    go_on.set()

    answers = await asyncio.gather(*lists)
    assert Counter(answer.status for answer in answers) == {202: MOST_LISTS, 503: 1}
    assert (await site.post(requests([9]), content_type=LIST)).status == 202
