"""Texts to one country: at the cap of an hour they wait for the next, and a person is asked to look."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.claim.claims import Leased, Room
from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import BatchPlan, InvitationRow, SessionRow, TextCount
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.states import InvitationState
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.core.rules.text_numbers import country_of
from onboarding_worker.plans.store.plans import Plan
from onboarding_worker.reporting.store.waiting import at_their_cap, texts_by_country
from tests.stored.shelf import changed, customer
from tests.stored.statements import statements

LITHUANIA, LATVIA = "+3706000000", "+3712000000"


@pytest.fixture(autouse=True)
def capped(shelf):
    shelf.message_policy = changed(shelf.message_policy, texts_per_country=3)


def texted(prefix, numbers, name="C"):
    return [
        customer(f"{name}-{number}", channel=Channel.SMS, person=Person(phone=f"{prefix}{number}", first_name="Ona"))
        for number in numbers
    ]


def send(shelf):
    return len(shelf.send(channel="sms"))


def test_texts_beyond_the_cap_wait_for_the_next_hour_and_other_countries_go_on(shelf):
    shelf.add(*texted(LITHUANIA, range(5)), *texted(LATVIA, range(2), "L"))
    shelf.issue()
    assert send(shelf) == 5
    waiting = shelf.rows(InvitationRow, state=InvitationState.WAITING)
    hour = shelf.clock().replace(minute=0, second=0, microsecond=0)
    assert [(row.reason, row.due_at) for row in waiting] == [("country_spent", hour + timedelta(hours=1))] * 2
    assert at_their_cap(shelf.database, now=shelf.clock()) == {"LT": (3, 2)}
    assert texts_by_country(shelf.database, now=shelf.clock()) == ({"LT": 3, "LV": 2}, {"LT": 3, "LV": 2})
    assert send(shelf) == 0
    shelf.clock.advance(hours=1)
    assert send(shelf) == 2
    assert texts_by_country(shelf.database, now=shelf.clock()) == ({"LT": 5, "LV": 2}, {"LT": 2})
    shelf.clock.advance(hours=1)
    assert at_their_cap(shelf.database, now=shelf.clock()) == {}


@pytest.mark.both_databases
def test_a_text_that_waits_for_its_country_leaves_its_place_in_the_pace_to_the_next_message(shelf):
    shelf.add(*texted(LITHUANIA, range(3)))
    shelf.issue()
    assert send(shelf) == 3
    how = {"name": "paced", "digest": "paced", "again": False, "now": shelf.clock(), "plan": Plan(per_hour=60)}
    batch, _ = shelf.batches.open(**how)
    shelf.add(*texted(LITHUANIA, [3]), customer("E-1"), batch=batch.id)
    shelf.set(BatchPlan, per_hour=None)
    shelf.clock.advance(minutes=2)
    assert len(shelf.issue()) == 2
    shelf.set(BatchPlan, per_hour=60)
    assert send(shelf) == 0
    assert len(shelf.send()) == 1


def test_a_text_that_was_claimed_and_did_not_leave_is_not_counted(shelf):
    """The sender's pause came between, or the hour has turned meanwhile."""
    shelf.add(*texted(LITHUANIA, range(5)))
    shelf.issue()
    for _ in range(2):
        flushed = shelf.invitations.flush(shelf.on("sms"), [], Room(3, 0), clock=shelf.clock)
        assert len(flushed.opened) == 3
        shelf.clock.advance(hours=1)
        not_made = [CallResult(opened, shelf.clock(), None) for opened in flushed.opened]
        shelf.invitations.flush(shelf.on("sms"), not_made, None, clock=shelf.clock)
    assert texts_by_country(shelf.database, now=shelf.clock()) == ({}, {})
    assert send(shelf) == 3


@pytest.mark.both_databases
def test_a_text_that_is_released_after_an_unknown_flush_is_not_counted(shelf):
    shelf.add(*texted(LITHUANIA, range(3)))
    shelf.issue()
    policy = shelf.on("sms")
    opened = shelf.invitations.flush(policy, [], Room(3, 0), clock=shelf.clock).opened
    shelf.invitations.release(policy, opened, now=shelf.clock())
    assert {row.state for row in shelf.rows(InvitationRow)} == {InvitationState.WAITING}
    assert [(row.count, row.refused) for row in shelf.rows(TextCount)] == [(0, 0)]


def test_a_text_whose_link_is_replaced_instead_is_not_counted(shelf):
    shelf.add(*texted(LITHUANIA, range(3)))
    shelf.issue()
    shelf.clock.now = shelf.rows(SessionRow)[0].expires_at - timedelta(minutes=1)
    assert shelf.invitations.flush(shelf.on("sms"), [], Room(3, 0), clock=shelf.clock).opened == []
    assert {row.state for row in shelf.rows(InvitationRow)} == {InvitationState.SUPERSEDED}
    assert texts_by_country(shelf.database, now=shelf.clock()) == ({}, {})


def test_a_text_that_another_workers_calls_left_no_slot_for_is_not_counted(shelf, monkeypatch):
    shelf.add(*texted(LITHUANIA, range(5)))
    shelf.issue()
    policy = shelf.on("sms")
    policy = replace(policy, rule=replace(policy.rule, limits=(Limit.parse("1/minute"),)))
    taken = Leased.reserve

    def one_left(leased, *given, **how):
        return replace(found := taken(leased, *given, **how), count=1, slots=found.slots[:1])

    monkeypatch.setattr(Leased, "reserve", one_left)
    room = Room(3, 0, horizon=timedelta(minutes=5))
    assert len(shelf.invitations.flush(policy, [], room, clock=shelf.clock).opened) == 1
    assert texts_by_country(shelf.database, now=shelf.clock()) == ({"LT": 1}, {"LT": 1})


def locked(made):
    """The tables whose rows were locked first and then, in order."""
    tables = [statement.split(" FROM ")[1].split()[0] for statement in made if "FOR UPDATE" in statement]
    return [table for table in tables if table in ("budget", "text_count")]


@pytest.mark.postgresql_alone
def test_the_senders_budget_is_locked_before_the_count_so_that_no_two_workers_wait_for_each_other(shelf):
    """The first claim locks the budget for its permits, and a later one for its slots."""
    shelf.add(*texted(LITHUANIA, range(5)))
    shelf.issue()
    policy = shelf.on("sms")
    policy = replace(policy, rule=replace(policy.rule, limits=(Limit.parse("100/second"),)))
    for _ in range(2):
        with statements(shelf.database) as made:
            flushed = shelf.invitations.flush(policy, [], Room(1, 0), clock=shelf.clock)
        assert locked(made)[0] == "budget"
        assert "text_count" in locked(made)
        shelf.clock.advance(seconds=1)
    with statements(shelf.database) as made:
        not_made = [CallResult(opened, shelf.clock(), None) for opened in flushed.opened]
        shelf.invitations.flush(policy, not_made, Room(1, 0), clock=shelf.clock)
    assert locked(made)[0] == "budget"


def test_mails_are_not_counted_and_old_counts_go(shelf):
    shelf.add(*[customer(f"M-{number}") for number in range(5)], *texted(LATVIA, range(1), "L"))
    shelf.issue()
    assert len(shelf.send()) == 5
    assert send(shelf) == 1
    shelf.clock.advance(days=3)
    shelf.add(*texted(LITHUANIA, range(1)))
    shelf.issue()
    send(shelf)
    assert [row.country for row in shelf.rows(TextCount)] == ["LT"]


def test_without_a_cap_nothing_is_counted(shelf):
    shelf.message_policy = changed(shelf.message_policy, texts_per_country=None)
    shelf.add(*texted(LITHUANIA, range(5)))
    shelf.issue()
    assert send(shelf) == 5
    assert shelf.rows(TextCount) == []


@pytest.mark.parametrize(
    ("phone", "country"), [("+37060000001", "LT"), ("+14155550100", "US"), ("+447400123456", "GB"), ("nonsense", "??")]
)
def test_the_country_of_a_number(phone, country):
    assert country_of(phone) == country
