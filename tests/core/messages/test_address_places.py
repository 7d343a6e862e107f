"""An address gets no more messages than its cap, over customers, lists and events, and no session is paid beyond it."""

import threading
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import ADDRESS
from onboarding_worker.core.database.fast import Twin
from onboarding_worker.core.database.tables import AddressPlace, InvitationRow, Job, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.messages import how_many
from onboarding_worker.core.messages.how_many import take
from onboarding_worker.core.model.channels import text_of
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.endings import Cancel, Kind
from onboarding_worker.core.model.states import EVENT, InvitationState, JobState
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.contact import AddressCap, Wish
from onboarding_worker.plans.store.plans import Plan
from tests.stored.row_locks import wait_until_blocked
from tests.stored.shelf import WEEK, changed, customer
from tests.stored.statements import statements
from tests.stored.steps import JobSteps
from tests.suite.twins import only_fast

CAP = AddressCap(3, WEEK)
SHARED = "info@agency.example"


@pytest.fixture(autouse=True)
def capped(shelf):
    shelf.policy = changed(shelf.policy, address_cap=CAP)
    shelf.message_policy = changed(shelf.message_policy, address_cap=CAP)


def sharing(*numbers, email=SHARED, **changes):
    """Customers with one address."""
    person = Person(email=email, phone="+37060000001", first_name="Ona")
    return [customer(f"C-{number}", person=person, **changes) for number in numbers]


def work(shelf):
    """Open the sessions that may be opened, and send what is due. Returns how many messages left."""
    shelf.issue()
    return len(shelf.send())


def test_a_message_to_who_has_no_such_address_any_more_is_left_to_its_sender_and_harms_no_other(shelf):
    shelf.add(*sharing(0, email=""), customer("D-1"))
    assert work(shelf) == 2


@pytest.mark.both_databases
def test_a_row_that_waits_for_its_address_leaves_its_place_in_the_pace_to_the_next_row(shelf):
    shelf.add(*sharing(*range(3)))
    assert work(shelf) == 3
    how = {"name": "paced", "digest": "paced", "again": False, "now": shelf.clock(), "plan": Plan(per_hour=60)}
    batch, _ = shelf.batches.open(**how)
    shelf.add(*sharing(3), batch=batch.id)
    assert work(shelf) == 0
    shelf.add(customer("D-1"), batch=batch.id, first_row=3)
    shelf.set(Job, Job.customer_id == "D-1", due_at=shelf.clock())
    assert [job.customer.customer_id for job in shelf.issue()] == ["D-1"]


def test_sixty_tags_of_one_mailbox_get_three_messages(shelf):
    shelf.add(*(one for number in range(60) for one in sharing(number, email=f"info+{number}@agency.example")))
    assert work(shelf) == 3


def test_sixty_customers_with_one_address_cost_three_sessions_and_get_three_messages(shelf):
    shelf.add(*sharing(*range(60)))
    assert work(shelf) == 3
    assert len(shelf.rows(SessionRow)) == 3
    waiting = shelf.rows(Job, state=JobState.WAITING)
    assert {row.reason for row in waiting} == {"address_spent"}
    assert {row.attempts for row in waiting} == {0}
    assert [row.due_at for row in waiting[:3]] == [shelf.clock() + WEEK] * 3
    assert work(shelf) == 0


def test_when_a_message_no_longer_counts_the_next_customer_is_invited(shelf):
    shelf.add(*sharing(*range(8)))
    work(shelf)
    shelf.clock.now += WEEK - timedelta(seconds=1)
    assert work(shelf) == 0
    shelf.clock.now += timedelta(seconds=1)
    assert work(shelf) == 3
    assert len(shelf.rows(SessionRow)) == 6


def test_lists_and_events_count_together_however_the_address_is_written(shelf):
    shelf.add(*sharing(1, 2))
    work(shelf)
    shelf.add(*sharing(3, 4, email="INFO@Agency.example"), priority=EVENT)
    assert work(shelf) == 1


def test_a_sender_that_waits_for_the_link_gets_it_though_another_used_up_the_address(shelf):
    shelf.add(*sharing(1, 2, 3), priority=EVENT)
    assert work(shelf) == 3
    shelf.add(*sharing(4), priority=EVENT)
    assert work(shelf) == 0
    assert len(shelf.rows(SessionRow)) == 4
    waiting = shelf.row(InvitationRow, state=InvitationState.WAITING)
    assert (waiting.reason, waiting.due_at) == ("address_spent", shelf.clock() + WEEK)
    assert shelf.job("C-4").state is JobState.ISSUED


def test_a_reminder_takes_a_place_too_and_waits_for_one(shelf):
    shelf.message_policy = changed(shelf.message_policy, reminders=(timedelta(days=1),))
    shelf.add(*sharing(1, 2, 3))
    assert work(shelf) == 3
    shelf.clock.advance(days=1)
    assert shelf.send() == []
    reminders = shelf.rows(InvitationRow, kind="reminder-1")
    # The link ends before the address has a place again.
    assert {(row.state, row.reason) for row in reminders} == {(InvitationState.SUPERSEDED, "address_spent")}


def test_a_message_whose_link_lives_long_enough_waits_for_its_place(shelf):
    shelf.message_policy = changed(shelf.message_policy, reminders=(timedelta(days=1),))
    shelf.add(*sharing(1, 2, 3))
    shelf.issue(lifetime=3 * WEEK)
    assert len(shelf.send()) == 3
    shelf.clock.advance(days=1)
    assert shelf.send() == []
    (row, *_) = shelf.rows(InvitationRow, kind="reminder-1")
    assert (row.state, row.reason, row.due_at) == (
        InvitationState.WAITING,
        "address_spent",
        shelf.clock() + timedelta(days=6),
    )


def test_a_message_whose_link_would_be_too_old_at_its_place_never_leaves(shelf):
    shelf.message_policy = changed(shelf.message_policy, reminders=(timedelta(days=1),))
    shelf.add(*sharing(1, 2, 3))
    shelf.issue(lifetime=WEEK + timedelta(minutes=1))  # it still lives when there is a place again
    assert len(shelf.send()) == 3
    shelf.clock.advance(days=1)
    assert shelf.send() == []
    assert {row.state for row in shelf.rows(InvitationRow, kind="reminder-1")} == {InvitationState.SUPERSEDED}


def test_a_job_that_fails_gives_its_place_to_the_next_one(shelf):
    shelf.add(*sharing(1, 2, 3, 4))
    (first, *others) = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(first, Kind.BAD_INPUT, Cancel("bad_input", "no such country")))
    shelf.finish(*(shelf.got(item) for item in others))
    shelf.clock.now += WEEK  # the customer who waits asks again then; the places count by their messages
    shelf.set(AddressPlace, taken_at=shelf.clock())
    assert [job.customer.customer_id for job in shelf.claim()] == ["C-4"]


def test_a_job_that_is_claimed_again_needs_no_second_place(shelf):
    shelf.add(*sharing(1, 2, 3))
    for _ in range(3):
        jobs = shelf.claim()
        assert len(jobs) == 3
        shelf.jobs.release(shelf.policy, jobs, now=shelf.clock())
    assert len(shelf.rows(AddressPlace)) == 3
    assert work(shelf) == 3


def test_with_two_channels_the_one_with_a_place_invites(shelf):
    both = [customer(f"B-{number}", channel=Channel.BOTH) for number in range(4)]  # one phone, an email each
    shelf.add(*both)
    shelf.issue()
    assert len(shelf.send()) == 4
    assert len(shelf.send(channel="sms")) == 3
    assert {row.state for row in shelf.rows(Job)} == {JobState.INVITED}


def test_a_row_that_wants_no_message_needs_no_place(shelf):
    shelf.add(*sharing(*range(5), channel=Channel.NONE))
    assert len(shelf.issue()) == 5
    assert shelf.rows(AddressPlace) == []


def test_without_a_cap_nothing_is_stored(shelf):
    shelf.policy = changed(shelf.policy, address_cap=None)
    shelf.message_policy = changed(shelf.message_policy, address_cap=None)
    shelf.add(*sharing(*range(9)))
    assert work(shelf) == 9
    assert shelf.rows(AddressPlace) == []


def test_places_under_an_older_key_count_until_their_messages_no_longer_do(shelf):
    old_key = new_key()
    old, both = Keyring([old_key]), Keyring([new_key(), old_key])

    def ask(keyring, *job_ids):
        wanted = [Wish(job_id, channel="email", address=SHARED) for job_id in job_ids]
        with shelf.database.write() as connection:
            return take(connection, keyring, CAP, wanted, now=shelf.clock())

    assert ask(old, 1, 2) == [None, None]
    assert ask(both, 1) == [None]
    assert len(shelf.rows(AddressPlace)) == 2  # it has its place, and takes no second one under the new key
    assert ask(both, 1, 3, 4) == [None, None, shelf.clock() + WEEK]
    shelf.clock.now += WEEK
    assert ask(both, 5, 6, 7) == [None, None, None]


def test_no_place_shows_its_address(shelf):
    shelf.add(*sharing(1))
    work(shelf)
    (row,) = shelf.rows(AddressPlace)
    assert SHARED not in repr(tuple(row))
    assert len(row.digest) == 64


@pytest.mark.postgresql_alone
def test_two_workers_of_two_accounts_never_give_one_address_more_than_its_places(shelf):
    other = replace(shelf.policy, account="au", rule=BudgetRule("au", (), 400, None, shelf.policy.rule.retry))
    shelf.budgets.ensure(["au"])
    shelf.add(*sharing(*range(10)))
    shelf.add(*sharing(*range(10, 20)), account="au")
    claimed = []

    def claim():
        jobs = JobSteps(shelf.database, shelf.keyring, jitter=lambda: 0.0)
        claimed.extend(jobs.claim(other, most=100, now=shelf.clock()).jobs)

    thread = threading.Thread(target=claim)

    def meanwhile(_connection, jobs):
        claimed.extend(jobs)
        thread.start()  # it has read that no place is taken, and waits for ours to be written
        wait_until_blocked(shelf.database, thread)

    shelf.jobs.claim(shelf.policy, most=100, now=shelf.clock(), on_claim=meanwhile)
    thread.join()
    assert len(claimed) == 3
    assert len(shelf.rows(Job, reason="address_spent")) == 17
    soon = shelf.rows(Job, reason="address_spent", account="au")
    assert min(row.due_at for row in soon) == shelf.clock() + timedelta(seconds=1)
    shelf.clock.advance(seconds=1)
    assert shelf.claim(policy=other) == []


def test_a_stale_link_s_message_keeps_no_place_from_the_next_one(shelf):
    shelf.add(*sharing(1, 2, 3))
    shelf.issue(lifetime=timedelta(hours=13))
    shelf.put_off_as_stale()
    shelf.set(SessionRow, expires_at=shelf.clock())
    shelf.issue()
    assert len(shelf.send()) == 3


BEFORE = (
    {},
    {0: ("own job", None)},
    {0: ("own job", "own message")},
    {0: ("own job", "another message")},
    {0: ("another job", None)},
    {0: ("another job", "another message")},
    {1: ("another job", None)},
    {0: ("own job", None), 1: ("another job", None)},
)
JOBS = {"own job": 1, "another job": 2}
MESSAGES = {None: None, "own message": UUID(int=1), "another message": UUID(int=2)}


@pytest.mark.parametrize("cap", [CAP, AddressCap(1, WEEK)])
@pytest.mark.parametrize("message", [None, "own message"])
@pytest.mark.parametrize("age", [timedelta(hours=1), WEEK])
def test_an_address_that_is_wanted_alone_gets_what_all_wishes_together_get(shelf, monkeypatch, cap, message, age):
    at, now = shelf.clock(), shelf.clock() + age
    wanted = [
        Wish(JOBS["own job"], MESSAGES[message], channel="email", address=f"{case}@example.org")
        for case in range(len(BEFORE))
    ]

    def taken():
        with shelf.database.write() as connection:
            connection.execute(sa.delete(AddressPlace))
            rows = [
                {
                    "digest": shelf.keyring.digests(ADDRESS, text_of("email", one.address))[0],
                    "number": number,
                    "job_id": JOBS[job],
                    "invitation_id": MESSAGES[invitation],
                    "taken_at": at,
                    "version": 1,
                }
                for one, places in zip(wanted, BEFORE, strict=True)
                for number, (job, invitation) in places.items()
            ]
            connection.execute(sa.insert(AddressPlace), rows)
            answers = take(connection, shelf.keyring, cap, wanted, now=now)
        columns = ("digest", "number", "job_id", "invitation_id", "taken_at", "version")
        return answers, {tuple(getattr(row, name) for name in columns) for row in shelf.rows(AddressPlace)}

    quick = taken()
    monkeypatch.setattr(how_many, "_only_places", lambda *_, **__: [])
    assert quick == taken()


@pytest.mark.postgresql_alone
@only_fast(Twin.ARRAYS)
def test_addresses_of_one_customer_each_cost_one_statement(shelf):
    def asked(*emails):
        with statements(shelf.database) as made, shelf.database.write() as connection:
            wishes = [Wish(1, channel="email", address=one) for one in emails]
            take(connection, shelf.keyring, CAP, wishes, now=shelf.clock())
        return [text.split()[0] for text in made if "address_place" in text]

    assert asked("a@example.org", "b@example.org") == ["INSERT"]
    assert asked("a@example.org", "b@example.org") == ["INSERT"]  # each has its place
    assert asked(SHARED, SHARED) == ["SELECT", "INSERT"]
    assert asked() == []
