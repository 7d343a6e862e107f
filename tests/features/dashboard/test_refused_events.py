"""Refused events: a person puts them back into their queue, or removes them, from the page that shows them."""

import pytest

from onboarding_worker.core.database.tables import Audit, RefusedEvent
from onboarding_worker.events.bus.dead_lettering import refused_message
from onboarding_worker.events.bus.messages import Entry
from tests.events.bus.brokers import a_bus, broker_of
from tests.features.dashboard.conftest import USERS, rows

PAGE = "/dashboard/outgoing"
OPERATOR = "ona (operator), dashboard"


@pytest.fixture
def broker(redis_url):
    broker = broker_of(a_bus(redis_url))
    yield broker
    broker.clean()


@pytest.fixture
async def site(open_site, broker):
    bus = f'[bus]\nurl = "{broker.bus.url}"\nqueue = "{broker.bus.queue}"\n'
    return await open_site(keys=bus + USERS)


def refuse(site, broker, *names: str) -> list[str]:
    """Store refused events; returns their ids."""
    messages = [Entry(b'{"customer_id": "%s"}' % name.encode(), "application/json") for name in names]
    kept = [refused_message(one, "type is missing", broker.bus.queue) for one in messages]
    return [str(id_) for id_ in site.parts.refused_events.keep(kept, now=site.clock())]


def decided(site) -> list[tuple]:
    entries = rows(site, Audit.actor, Audit.action, Audit.subject, Audit.count, Audit.reason)
    return [entry for entry in entries if entry[1].startswith("events dead")]


async def test_one_is_put_back_and_then_the_others(site, ona, broker):
    one, other, third = refuse(site, broker, "C-1", "C-2", "C-3")
    page = await ona.get(PAGE)
    assert {f"/dashboard/do/dead-requeue?event={one}", "/dashboard/do/dead-drop?event=all"} <= set(page.links)
    asked = await ona.get(f"/dashboard/do/dead-requeue?event={one}")
    assert "It was refused: type is missing." in asked.words

    done = await ona.do(f"/dashboard/do/dead-requeue?event={one}", reason="the type is set now")

    assert (done.path.partition("#")[0], "1 event was put back." in done.words) == (PAGE, True)
    assert broker.waiting() == 1
    assert sorted(str(id_) for (id_,) in rows(site, RefusedEvent.id)) == sorted([other, third])
    assert decided(site) == [
        (OPERATOR, "events dead requeue", f"dead event {one}", 1, "to be put back; the type is set now")
    ]
    assert (await ona.get(f"/dashboard/do/dead-requeue?event={one}")).status == 404
    done = await ona.do("/dashboard/do/dead-requeue?event=all")
    assert "2 events were put back." in done.words
    assert broker.waiting() == 3
    assert (await ona.get("/dashboard/do/dead-requeue?event=all")).status == 409


async def test_one_is_removed_and_then_the_others(site, ona, broker):
    one, *_ = refuse(site, broker, "C-1", "C-2", "C-3")

    done = await ona.do(f"/dashboard/do/dead-drop?event={one}", reason="a test of theirs")

    assert "1 event was removed." in done.words
    assert decided(site) == [(OPERATOR, "events dead drop", f"dead event {one}", 1, "dropped; a test of theirs")]
    assert "2 events were removed." in (await ona.do("/dashboard/do/dead-drop?event=all")).words
    assert rows(site, RefusedEvent.id) == []
    assert broker.waiting() == 0


@pytest.mark.parametrize("action", ["dead-drop", "dead-requeue"])
async def test_of_all_only_those_are_meant_that_the_person_saw(site, ona, broker, clock, action):
    seen, _ = refuse(site, broker, "C-1", "C-2")
    asked = await ona.get(f"/dashboard/do/{action}?event=all")
    clock.advance(seconds=1)
    await ona.do(f"/dashboard/do/dead-drop?event={seen}")
    (unseen,) = refuse(site, broker, "C-3")  # so that there are as many as before

    await ona.post(f"/dashboard/do/{action}", asked.form | {"reason": "they are of a test"})

    assert [str(id_) for (id_,) in rows(site, RefusedEvent.id)] == [unseen]


async def test_where_the_bus_cannot_be_reached_nothing_is_lost(open_site, enter, broker):
    keys = '[bus]\nurl = "redis://127.0.0.1:1/0"\n' + USERS
    site = await open_site(keys=keys)
    refuse(site, broker, "C-1")
    person = await enter("ona", site)

    refused = await person.do("/dashboard/do/dead-requeue?event=all")

    assert (refused.status, refused.title) == (409, "Not possible")
    assert "Nothing was put back: the broker does not work as expected" in refused.words
    assert len(rows(site, RefusedEvent.id)) == 1


@pytest.mark.parametrize("name", ["vita", "desk"])
async def test_only_an_operator_decides_about_refused_events(site, enter, broker, name):
    refuse(site, broker, "C-1")
    person = await enter(name)

    assert not any("/dashboard/do/dead-" in link for link in (await person.get(PAGE)).links)
    for action in ("dead-requeue", "dead-drop"):
        assert (await person.get(f"/dashboard/do/{action}?event=all")).status == 409


@pytest.mark.parametrize("event", ["", "x", "1" * 36, "ALL", "00000000-0000-0000-0000-000000000000"])
async def test_what_names_no_refused_event_is_not_there(ona, event):
    assert (await ona.get(f"/dashboard/do/dead-drop?event={event}")).status == 404
