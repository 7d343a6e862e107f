"""Two senders at one door: each has its own keys, rights, events and customers."""

import uuid

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import CustomerRow, Inbox, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.incoming import EventKind
from onboarding_worker.core.model.states import BATCH
from onboarding_worker.lists.known_customers import KnownChoices
from tests.stored.shelf import Shelf, add_lines, customer, line
from tests.web.site import BILLING, DATA, EVENT, FIRST, KEYS, SECOND, THIRD, Site, bytes_of

OTHERS = ("onboarding.cancelled", "customer.updated", "customer.erased")


def event(kind: str, customer_id: str, **more: str) -> dict:
    data = {"customer_id": customer_id} | ({"locale": "de"} if kind == "customer.updated" else {}) | more
    return {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/x", "type": kind, "data": data}


def rows(site: Site, *tables: type) -> list:
    with site.parts.database.read() as connection:
        return [connection.execute(sa.select(table.__table__)).all() for table in tables]


@pytest.fixture
async def site(start, sqlite_url):
    """Events are stored; there are two senders. `signup` has the customer C-1."""
    site = await start(sqlite_url, keys=KEYS + BILLING, scripted=False)
    assert (await site.post()).status == 202
    return site


@pytest.fixture
def shelf(site):
    return Shelf(site.parts.database, site.parts.keyring, site.clock)


@pytest.mark.parametrize("kind", OTHERS)
async def test_an_event_about_anothers_customer_is_answered_as_about_nobody(site, kind):
    tables = (CustomerRow, Job, SessionRow, InvitationRow)
    before = rows(site, *tables)

    anothers, nobodys = [await site.post(event(kind, who), key=THIRD) for who in ("C-1", "C-0")]
    seen = [await site.get(answer.body["href"], key=THIRD) for answer in (anothers, nobodys)]

    assert anothers.status == nobodys.status == 202
    assert {**anothers.body, "id": "", "href": ""} == {**nobodys.body, "id": "", "href": ""}
    assert {**seen[0].body, "id": "", "href": ""} == {**seen[1].body, "id": "", "href": ""}
    assert rows(site, *tables) == before


@pytest.mark.parametrize("kind", OTHERS)
async def test_an_event_about_ones_own_customer_does_what_it_says(site, kind):
    before = rows(site, CustomerRow, Job)
    answer = await site.post(event(kind, "C-1"))
    assert (answer.status, answer.body["state"]) == (202, "taken")
    assert rows(site, CustomerRow, Job) != before


async def test_a_request_for_anothers_customer_gets_no_link(site, shelf):
    shelf.issue()
    refused = await site.post(
        event("onboarding.requested", "C-1", email="thief@example.net"), key=THIRD, Prefer="wait=1"
    )
    assert refused.problem(403) == "this sender may not request this customer"
    assert "link" not in refused.body
    own = await site.post(event("onboarding.requested", "C-1", email="ona@example.com"), Prefer="wait=1")
    assert (own.status, own.body["link"]) == (200, "https://verify.test/token-0001")


async def test_who_claims_an_id_first_gets_no_link_of_the_customer_whom_a_list_brings(site, shelf):
    claim = event("onboarding.requested", "CLAIM-3", email="thief@example.net", channel="none")
    assert (await site.post(claim)).status == 202
    shelf.issue()
    assert (await site.post(claim, Prefer="wait=1")).body["link"]
    batches = site.parts.batches
    lines = [line(2, customer("CLAIM-3"))]
    assert len(add_lines(batches, shelf.batch(), lines, priority=BATCH, now=site.clock()).refused) == 1

    add_lines(batches, shelf.batch(), lines, priority=BATCH, now=site.clock(), choices=KnownChoices(take_over=True))
    for asked in (claim, claim | {"id": "another"}):
        refused = await site.post(asked, Prefer="wait=1")
        assert refused.problem(403) == "this sender may not request this customer"
        assert "link" not in refused.body


async def test_an_event_is_read_by_its_sender_alone_with_any_of_its_keys(site):
    ((stored,),) = rows(site, Inbox)
    missing = (await site.get(f"/events/{uuid.uuid4()}", key=THIRD)).body
    other = await site.get(f"/events/{stored.id}", key=THIRD)
    assert (other.status, other.body) == (404, missing)
    assert [(await site.get(f"/events/{stored.id}", key=key)).status for key in (FIRST, SECOND)] == [200, 200]
    signed = site.signed(str(stored.id).encode())
    assert (await site.get(f"/events/{stored.id}", key=None, **signed)).status == 200


async def test_anothers_source_and_id_are_free(site):
    squatted = {**event("onboarding.requested", "C-7", email="z@example.com"), "id": "1001", "source": "/signup"}
    assert (await site.post(squatted, key=THIRD)).status == 202
    genuine = await site.post({**squatted, "data": {"customer_id": "C-8", "email": "y@example.com"}}, key=FIRST)
    assert (genuine.status, "duplicate" in genuine.body) == (202, False)
    again = await site.post({**squatted, "data": {"customer_id": "C-8", "email": "y@example.com"}}, key=SECOND)
    assert (again.body["href"], again.body["duplicate"]) == (genuine.body["href"], True)


async def test_a_sender_without_the_right_to_links_gets_none(start, sqlite_url):
    site = await start(sqlite_url, keys=KEYS.replace("links = true", ""), scripted=False)
    shelf = Shelf(site.parts.database, site.parts.keyring, site.clock)
    await site.post()
    shelf.issue()
    answer = await site.post(Prefer="wait=1")
    assert (answer.status, "link" in answer.body, "job" in answer.body) == (202, False, False)
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("kind", [kind.value for kind in EventKind])
async def test_a_type_that_its_sender_may_not_send_is_refused(start, sqlite_url, kind):
    others = [one.value for one in EventKind if one.value != kind]
    site = await start(sqlite_url, keys=KEYS.replace("links = true", f"types = {others}"), scripted=False)
    answer = await site.post({**EVENT, "type": kind, "data": {"customer_id": "C-1"}})
    assert answer.problem(403) == "this sender may not send events of this type"
    assert rows(site, Inbox) == [[]]


async def test_an_id_that_its_sender_may_not_name_is_refused(start, sqlite_url):
    site = await start(sqlite_url, keys=KEYS.replace("links = true", 'ids = "signup-*"'), scripted=False)
    refused = await site.post(event("onboarding.requested", "C-1", email="ona@example.com"), Prefer="wait=1")
    assert refused.problem(403) == "this sender may not name customers with such ids"
    assert "link" not in refused.body
    assert (await site.post(event("onboarding.requested", "signup-1", email="ona@example.com"))).status == 202


async def test_a_key_that_is_configured_by_its_hash_lets_in_and_signs_nothing(start, sqlite_url):
    site = await start(sqlite_url, keys=BILLING)
    assert (await site.post(key=THIRD)).status == 202
    (sent,) = site.script.events
    assert sent.sender.name == "billing"
    body = bytes_of(EVENT)
    refused = await site.post(body, key=None, **site.signed(body, key=THIRD.encode()))
    assert refused.problem(401) == "none of our keys made its signature"


async def test_a_signed_event_is_its_signers(start, sqlite_url):
    site = await start(sqlite_url, keys=BILLING + KEYS)
    body = bytes_of({**EVENT, "data": DATA})
    assert (await site.post(body, key=None, **site.signed(body))).status == 202
    assert [one.sender.name for one in site.script.events] == ["signup"]
