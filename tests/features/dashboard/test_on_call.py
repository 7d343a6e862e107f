"""The page for the person on call: what is stuck, since when, what it costs in an hour, and the one safe action."""

from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Batch, Budget, RefusedEvent, SessionRow, Webhook
from onboarding_worker.core.model.endings import Hold, Kind
from onboarding_worker.core.model.states import PauseCause
from onboarding_worker.lists.store.added_lines import all_added
from tests.stored.shelf import Shelf, customer
from tests.web import site as site_module

PAGE = "/dashboard/on-call"
PACE_OF_ONE_AN_HOUR = {"measured_calls": 10.0, "measured_seconds": 36_000.0}


@pytest.fixture
async def site(open_site, monkeypatch):
    monkeypatch.setitem(site_module.HERE, "ONBOARDING__ACCOUNTS__KYC__PRICE", "0.90 EUR")
    return await open_site()


@pytest.fixture
def shelf(site, clock) -> Shelf:
    """Three customers wait, and no process works."""
    shelf = Shelf(site.parts.database, site.parts.keyring, clock)
    number = shelf.add(*(customer(f"C-{number}") for number in range(3)))
    all_added(shelf.batches, number, now=clock())
    return shelf


def actions(seen) -> list[str]:
    return [link for link in seen.links if "/do/" in link]


async def test_where_nothing_is_stuck_it_says_so(ona):
    seen = await ona.get(PAGE)

    assert (seen.title, actions(seen)) == ("Nothing is stuck", [])
    assert PAGE in (await ona.get("/")).links


async def test_a_stopped_account_keeps_its_customers_and_one_call_is_safe_for_an_operator(shelf, ona, vita, clock):
    shelf.set(Budget, Budget.name == "kyc", stopped_at=clock(), stop_reason="HTTP 401")
    clock.advance(minutes=5)

    seen = await ona.get(PAGE)

    assert seen.title == "1 thing is stuck"
    assert "since 12:00:00 5 minutes ago" in seen.words
    assert "3 customers are not invited in an hour; 3 wait" in seen.words
    assert actions(seen) == ["/dashboard/do/account-resume?name=kyc"]
    assert ("HTTP 401" in (seen := await vita.get(PAGE)).words, actions(seen)) == (True, [])


async def test_no_more_customers_are_counted_than_the_usual_pace_would_invite(shelf, ona, clock):
    stop = {"stopped_at": clock(), "stop_reason": "HTTP 401", "measured_until": clock()}
    shelf.set(Budget, Budget.name == "kyc", **stop, **PACE_OF_ONE_AN_HOUR)

    assert "up to 1 customer is not invited in an hour; 3 wait" in (await ona.get(PAGE)).words


async def test_sessions_that_end_unused_are_priced_and_a_batch_that_paused_itself_may_be_resumed(shelf, ona, clock):
    shelf.issue()
    for name, minutes in (("C-0", 30), ("C-1", 50), ("C-2", 90)):
        shelf.set(SessionRow, SessionRow.customer_id == name, expires_at=clock() + timedelta(minutes=minutes))
    shelf.set(Batch, pause_cause=PauseCause.ITSELF.value, pause_reason="many messages came back", paused_at=clock())

    seen = await ona.get(PAGE)

    assert "2 paid sessions end unused within the hour: 1.80 EUR" in seen.words
    assert actions(seen) == ["/dashboard/do/resume?batch=1&from=now"]


async def test_held_rows_refused_events_and_webhooks_are_shown_with_the_time_of_the_first(site, shelf, ona, clock):
    first, *_ = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(first, Kind.UNKNOWN, Hold("unknown", "")))
    texts = dict.fromkeys(("reason", "kind", "event", "size", "refusals"), 1)
    refused = texts | {"id": uuid4(), "queue": "requests", "refused_at": clock(), "due_at": clock()}
    webhook = {"id": uuid4(), "source": "account/kyc", "digest": "d", "state": "alert", "received_at": clock()}
    webhook |= {"event": "", "attempts": 1, "detail": ""}
    with site.parts.database.write() as connection:
        connection.execute(sa.insert(RefusedEvent), refused)
        connection.execute(sa.insert(Webhook), webhook)
    clock.advance(minutes=5)

    words = (await ona.get(PAGE)).words

    for what in ("waits for a decision", "waits to be put back", "is to be checked"):
        assert "5 minutes ago" in words.partition(what)[2][:80], what


@pytest.mark.parametrize("how", ["pause", "stop"])
async def test_what_a_person_has_paused_or_stopped_has_no_button_here(site, shelf, ona, clock, how):
    if how == "pause":
        site.parts.decisions.pause(1, by="ann", now=clock())
    else:
        site.parts.emergency_stops.stop(by="ann", reason="wrong list", now=clock())

    seen = await ona.get(PAGE)

    assert seen.title == "1 thing is stuck"
    assert "by ann" in seen.words
    assert "3 wait" in seen.words
    assert actions(seen) == []


async def test_a_pause_that_ends_by_itself_is_not_stuck(shelf, ona, clock):
    until = clock() + timedelta(hours=1)
    shelf.set(Budget, Budget.name == "kyc", blocked_until=until, pause_reason="HTTP 429")

    seen = await ona.get(PAGE)

    assert (seen.title, actions(seen)) == ("Nothing is stuck", [])
    assert "HTTP 429" in seen.words.partition("Ends by itself")[2]
    assert "until 13:00:00 in 60 minutes" in seen.words or "in 1 hour" in seen.words
