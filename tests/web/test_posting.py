import asyncio
import json
import uuid
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import schema
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.incoming import EventKind, EventReceipt, Outcome
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.events.cloudevents import LARGEST
from onboarding_worker.web.events.request_body import LONGEST_WAIT, preferred_wait
from tests.suite.waiting import ENDS_WITHIN
from tests.web.site import BILLING, CLOUD, DATA, EVENT, FIRST, KEYS, THIRD, Site, renamed, status_of, until

JSON = "application/json"


async def test_an_event_that_was_taken_is_answered_with_its_address(site):
    answer = await site.post()
    assert answer.status == 202
    address = answer.headers["Location"]
    assert answer.body == {"id": address.removeprefix("/events/"), "state": "taken", "href": address}
    assert answer.headers["Cache-Control"] == "no-store"
    (event,) = site.script.events
    assert (event.source, event.id, event.kind, dict(event.data)) == ("/signup", "7", EventKind.REQUESTED, DATA)


async def test_the_account_is_woken_once_the_event_is_committed(site):
    await site.post()
    assert site.woken == [WakeUp.issue("kyc")]


async def test_events_come_whole_or_with_their_attributes_in_headers_or_as_plain_json(site):
    plain = {"type": "customer.erased", "data": DATA}
    headers = {"ce-specversion": "1.0", "ce-id": "caf%C3%A9", "ce-source": "/s", "ce-type": "customer.updated"}
    assert (await site.post(EVENT, content_type=JSON)).status == 202
    assert (await site.post(DATA, content_type=JSON, **headers)).status == 202
    assert (await site.post(plain, content_type=JSON)).status == 202
    assert (await site.post(DATA, content_type=JSON, **{"ce-type": "onboarding.cancelled"})).status == 202
    assert [(event.source, event.id[:4], event.kind.value) for event in site.script.events][:2] == [
        ("/signup", "7", "onboarding.requested"),
        ("/s", "café", "customer.updated"),
    ]
    assert [event.kind.value for event in site.script.events[2:]] == ["customer.erased", "onboarding.cancelled"]


async def test_an_envelope_that_cannot_be_read_is_refused_by_its_attribute(site):
    assert (
        (await site.post(EVENT | {"time": "yesterday"})).problem(400).startswith("time is not in the form of RFC 3339")
    )
    assert (await site.post(b"{")).problem(400).startswith("the body is not JSON")
    assert (await site.post(b"", content_type=JSON)).problem(400)
    assert site.script.events == []


async def test_a_header_that_comes_twice_is_not_chosen_from(site):
    body = json.dumps(DATA).encode()
    once = [("ce-id", "1"), ("Authorization", f"Bearer {FIRST}"), ("Content-Type", JSON)]
    for again in (("ce-id", "2"), ("authorization", "Bearer other"), ("Content-Type", "text/plain")):
        assert await status_of(site.client, "/events", [*once, again], body) == 400
    assert site.script.events == []
    complete = [("ce-specversion", "1.0"), ("ce-source", "/x"), ("ce-type", "onboarding.requested")]
    assert await status_of(site.client, "/events", [*once, *complete], body) == 202


async def test_other_media_types_and_compressed_bodies_are_refused(site):
    for content_type in ("text/csv", "application/cloudevents-batch+xml"):
        assert (await site.post(content_type=content_type)).problem(415)
    answer = await site.post(**{"Content-Encoding": "gzip"}, event=b"\x1f\x8b")
    assert answer.status in (400, 415)  # aiohttp itself refuses what it cannot unpack


async def test_a_body_is_bounded_with_or_without_a_content_length(site):
    large = EVENT | {"padding": "x" * LARGEST}
    assert (await site.post(large)).problem(413)

    async def in_parts():
        for _ in range(LARGEST // 65_536 + 1):
            yield b" " * 65_536

    headers = {"Authorization": f"Bearer {FIRST}", "Content-Type": CLOUD}
    async with site.client.post("/events", data=in_parts(), headers=headers) as response:
        assert response.status == 413
    assert site.script.events == []


async def test_a_body_that_comes_drop_by_drop_is_not_waited_for(start, sqlite_url):
    site = await start(sqlite_url, body_seconds=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.client.port)
    head = f"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {FIRST}\r\nContent-Type: {CLOUD}\r\n"
    writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    answer = await reader.read()  # to the end: the connection is closed
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_refused_data_is_listed_by_column(site):
    problems = (FieldProblem("email", "15 characters without an @", "write one address"),)
    site.script.answer = lambda event: EventReceipt(Outcome.REFUSED, reason="1 problem", problems=problems)
    answer = await site.post()
    assert answer.problem(422) == "1 problem"
    assert answer.body["problems"] == [
        {"column": "email", "problem": "15 characters without an @", "hint": "write one address"}
    ]


async def test_a_duplicate_has_the_address_of_the_first(site):
    first = uuid.uuid4()
    site.script.answer = lambda event: EventReceipt(Outcome.DUPLICATE, first)
    answer = await site.post()
    assert (answer.status, answer.headers["Location"], answer.body["duplicate"]) == (202, f"/events/{first}", True)


async def test_an_event_that_changes_nothing_says_why(site):
    site.script.answer = lambda event: EventReceipt(Outcome.IGNORED, uuid.uuid4(), reason="a newer one is known")
    answer = await site.post()
    assert (answer.status, answer.body["state"], answer.body["detail"]) == (202, "ignored", "a newer one is known")


async def test_a_database_that_is_away_refuses_events_until_it_is_back(site):
    def away(_event):
        raise sa.exc.OperationalError(None, None, Exception("gone"))

    taking, site.script.answer = site.script.answer, away
    answer = await site.post()
    assert answer.problem(503) == "the database cannot be used; send the same event again"
    assert answer.headers["Retry-After"] == "2"
    site.script.answer = taking
    assert (await site.post()).status == 202


async def test_what_is_wrong_with_the_database_is_never_the_events_fault(start, empty_postgresql_url):
    """A column has another name for a moment, as while somebody repairs something by hand."""
    site = await start(empty_postgresql_url, scripted=False)
    with renamed(site.parts.database, "inbox", "digest"):
        answer = await site.post()
    assert answer.problem(503)
    assert answer.headers["Retry-After"] == "2"
    assert (await site.post()).status == 202


async def test_a_bug_that_one_event_uncovers_refuses_no_other(site):
    secret = "box1@example.com"

    def uncovers(event):
        if event.id == "bad":
            raise ValueError(secret)
        return EventReceipt(Outcome.TAKEN, uuid.uuid4())

    site.script.answer = uncovers
    answers = await asyncio.gather(*(site.post(EVENT | {"id": id_}) for id_ in ("1", "bad", "2", "3")))
    assert [answer.status for answer in answers] == [202, 500, 202, 202]
    assert secret not in json.dumps(answers[1].body)


async def test_events_that_arrive_while_a_lot_is_on_its_way_are_one_lot(site):
    held, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(_event):
        loop.call_soon_threadsafe(held.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(ENDS_WITHIN)
        return EventReceipt(Outcome.TAKEN, uuid.uuid4())

    site.script.answer = slow
    first = asyncio.create_task(site.post(EVENT | {"id": "first"}))
    await until(held.is_set)
    later = [asyncio.create_task(site.post(EVENT | {"id": str(number)})) for number in range(5)]
    await until(lambda: site.gathered == 5)
    go_on.set()
    assert {answer.status for answer in await asyncio.gather(first, *later)} == {202}
    assert [len(chunk) for chunk in site.script.chunks] == [1, 5]


async def test_a_sender_may_post_so_many_and_no_more(start, sqlite_url):
    site = await start(sqlite_url, keys=KEYS + BILLING + '[web]\nevent_limit = "2/hour"')
    assert [(await site.post()).status for _ in range(3)] == [202, 202, 429]
    answer = await site.post()
    assert answer.problem(429) == "more events than event_limit allows this sender"
    assert 1700 < int(answer.headers["Retry-After"]) <= 1800
    assert (await site.post(key=THIRD)).status == 202  # another's is its own
    assert len(site.script.events) == 3


async def test_the_log_of_requests_names_routes_and_nothing_that_was_asked_for(site, caplog):
    caplog.set_level("DEBUG", "access")
    await site.get("/events/box1@example.com?token=secret-1")
    await site.get("/secret-2")
    await site.client.request("SECRET3", "/healthz")
    records = [record for record in caplog.records if record.name == "access"]
    logged = [record.getMessage().rsplit(" ", 2)[0] for record in records]  # without the milliseconds
    assert logged == ["GET /events/{id} 404", "GET - 404", "- - 400"]


async def test_an_unknown_path_or_method_is_answered_in_the_same_form(site):
    assert (await site.get("/elsewhere")).problem(404)
    answer = await site.get("/events")
    assert answer.problem(405)
    assert answer.headers["Allow"] == "POST"


async def test_it_can_be_mounted_in_an_application_of_ones_own(start, sqlite_url, tmp_path, clock):
    directory = tmp_path / "mounted"
    directory.mkdir()
    async with Site(sqlite_url, directory, clock).mounted("/idv") as site:
        answer = await site.post()
        assert (answer.status, answer.headers["Location"][:12]) == (202, "/idv/events/")
        assert (await site.get("/idv/readyz", key=None)).status == 200
        assert (await site.get("/idv/nothing")).problem(404)


async def test_a_process_that_cannot_take_events_says_so_and_is_alive(start, tmp_path):
    site = await start(f"sqlite:///{tmp_path / 'empty.db'}")
    assert (await site.get("/healthz", key=None)).body == {"alive": True}
    assert (await site.get("/readyz", key=None)).problem(503) == "the database is empty: run `onboard db upgrade`"
    answer = await site.post()
    assert answer.problem(503) == "the database is empty: run `onboard db upgrade`"
    assert answer.headers["Retry-After"] == "2"
    assert site.script.events == []


async def test_a_newer_schema_is_left_alone(start, url):
    site = await start(url)
    assert (await site.get("/readyz", key=None)).status == 200
    with site.parts.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        site.look_at_the_database()
        assert "newer than this release" in (await site.get("/readyz", key=None)).problem(503)
        assert "newer than this release" in (await site.post()).problem(503)
    finally:
        with site.parts.database.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :at"), {"at": schema.newest()})


async def test_a_process_whose_database_takes_no_writes_is_not_ready(start, empty_postgresql_url):
    """A load balancer would send it events, which it cannot store."""
    site = await start(empty_postgresql_url, scripted=False)

    def read_only(connection: Any, _record: object) -> None:
        connection.execute("SET default_transaction_read_only = on")
        connection.commit()

    sa.event.listen(site.parts.database.engine, "connect", read_only)
    site.parts.database.engine.dispose()
    site.look_at_the_database()
    assert (await site.post()).problem(503) == "the database cannot be used; send the same event again"
    assert (await site.get("/readyz", key=None)).problem(503) == "the database server is read-only, or a standby"
    assert (await site.get("/events/1")).status == 404  # it still answers what only reads


async def test_a_process_that_starts_beside_a_database_without_writes_says_so(start, empty_postgresql_url):
    site = await start(f"{empty_postgresql_url}?options=-c%20default_transaction_read_only%3Don", scripted=False)
    assert (await site.get("/readyz", key=None)).problem(503) == "the database server is read-only, or a standby"


async def test_strangers_do_not_learn_where_the_database_is(start):
    site = await start("postgresql+psycopg://somebody@127.0.0.1:1/secrets")
    assert (await site.get("/readyz", key=None)).problem(503) == "the database cannot be used"


def test_the_preferred_wait_is_bounded_and_an_unreadable_header_is_no_preference(subtests):
    for headers, seconds in [
        ([], 0),
        ([""], 0),
        (["wait=2"], 2),
        (["respond-async, WAIT = 3; of=no, wait=4"], 3),
        (["handling=lenient", 'wait="5"'], 5),
        (["wait=100"], LONGEST_WAIT),
        (["wait=999999999"], LONGEST_WAIT),
        (["wait=9999999999"], 0),
        (["wait=-1", "wait=x, wait", "await=3", "wait=1.5"], 0),
        (["wait=²"], 0),
    ]:
        with subtests.test(headers=headers, seconds=seconds):
            assert preferred_wait(headers) == seconds
