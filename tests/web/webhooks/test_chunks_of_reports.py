"""Reports of deliveries that are applied together: one result for all orders, and locks in one order."""

from dataclasses import replace
from threading import Lock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import Batch, BounceCount, InvitationRow, Job, Suppression
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.customers import Person
from onboarding_worker.core.model.states import InvitationState, JobState, WebhookState
from onboarding_worker.core.rules.contact import PauseRule
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, Stop
from onboarding_worker.settings.policies import fallbacks
from onboarding_worker.web.webhooks.store.delivery_reports import apply_delivery_updates
from onboarding_worker.web.webhooks.store.webhooks import KeptWebhook as Kept
from onboarding_worker.web.webhooks.store.webhooks import given_of
from tests.stored.post import BOTH_WAYS, EMAIL, TEXT, Post
from tests.stored.shelf import CONTACT, customer
from tests.stored.statements import statements


@pytest.mark.both_databases
def test_an_update_that_several_processes_apply_at_once_counts_once(shelf, keyring, in_parallel):
    people = [Person(email=EMAIL, phone=f"+3706000000{number}") for number in range(6)]
    post = Post(shelf, keyring)
    post.policy = replace(CONTACT, fallbacks=fallbacks("sms", CHANNELS), pause=PauseRule(10, 4))
    shelf.message_policy = replace(shelf.message_policy, contact=post.policy)
    post.send(*(customer(f"C{number}", person=person) for number, person in enumerate(people)))
    references = [row.id.hex for row in shelf.rows(InvitationRow)]
    orders = iter([references, references[::-1], references[3:] + references[:3], references[::2] + references[1::2]])
    takes = iter([False, True, False, True])
    lock = Lock()

    def report():
        with lock:
            order, sends = next(orders), next(takes)
        applied = 0
        for reference in order:
            result = outlive_deadlocks(
                lambda reference=reference: post.report(reference, DeliveryStatus.BOUNCED, stop=Stop.BOUNCED)
            )
            applied += result.state is WebhookState.APPLIED
            if sends:
                shelf.send(channel="sms")
        return applied

    in_parallel(report, times=4)
    shelf.send(channel="sms")
    states = [(row.channel, row.state) for row in shelf.rows(InvitationRow)]
    assert sorted(states) == 6 * [("email", InvitationState.BOUNCED)] + 6 * [("sms", InvitationState.SENT)]
    assert {row.state for row in shelf.rows(Job)} == {JobState.INVITED}
    counted = shelf.rows(BounceCount)
    assert sum(row.bounced for row in counted) == 6
    assert sum(row.tried for row in counted) == 12
    assert len(shelf.rows(Suppression)) == 1
    assert shelf.row(Batch).pause_reason != ""


def test_a_chunk_locks_its_messages_and_then_its_jobs_and_counts_the_bounces_last(shelf, keyring):
    people = [Person(email=EMAIL, phone=f"+3706000000{number}") for number in range(3)]
    post = Post(shelf, keyring)
    post.send(*(customer(f"C{number}", person=person) for number, person in enumerate(people)))
    policy = replace(CONTACT, fallbacks=fallbacks("sms", CHANNELS), pause=PauseRule(10, 4))
    updates = [
        DeliveryUpdate("reported", row.id.hex, status=DeliveryStatus.BOUNCED) for row in shelf.rows(InvitationRow)
    ]
    now = shelf.clock()
    webhooks = [Kept(new_id(now), "sender/email", now, 0, given_of(one)) for one in reversed(updates)]
    with statements(shelf.database) as made, shelf.database.write() as connection:
        results = apply_delivery_updates(keyring, lambda: policy, connection, webhooks, set(), now)
    assert {one.state for one in results.values()} == {WebhookState.APPLIED}
    # Otherwise two chunks, or a chunk and a dispatcher that records results, could deadlock.
    locks = [one for one in made if "ORDER BY invitation.id" in one or "ORDER BY job.id" in one]
    assert ["ORDER BY invitation.id" in one for one in locks[:2]] == [True, False]
    assert made.index(locks[1]) < min(number for number, one in enumerate(made) if one.startswith("UPDATE"))
    counts = [number for number, one in enumerate(made) if one.startswith("INSERT INTO bounce_count")]
    assert len(counts) == 1
    assert not [one for one in made[counts[0] + 1 :] if "FROM batch" not in one and "FROM bounce_count" not in one]
    assert sum(row.bounced for row in shelf.rows(BounceCount)) == 3


def test_deliveries_of_a_chunk_are_written_by_one_statement_and_touch_no_job(post):
    post.send(*(customer(f"C{number}") for number in range(12)))
    before, mails = post.shelf.rows(Job), post.shelf.rows(InvitationRow)
    now = post.shelf.clock.advance(minutes=1)
    updates = [DeliveryUpdate("delivered", row.id.hex, status=DeliveryStatus.DELIVERED) for row in mails]
    with statements(post.shelf.database) as made, post.shelf.database.write() as connection:
        results = post.deliver(connection, updates)
    assert [(one.state, one.invitation_id) for one in results] == [(WebhookState.APPLIED, row.id) for row in mails]
    assert len([one for one in made if one.startswith("UPDATE invitation")]) == 1
    assert {(row.state, row.delivery_at) for row in post.shelf.rows(InvitationRow)} == {("delivered", now)}
    assert post.shelf.rows(Job) == before


def put(shelf, id_, state):
    """Put a message that was sent into this state, and its job with it."""
    row, state = shelf.row(InvitationRow, id=id_), InvitationState(state)
    out = state in (InvitationState.SENT, InvitationState.DELIVERED)
    why = {} if out else {"reason": "unknown"}
    at = {"sent_at": row.sent_at if out else None, "delivery_at": None}
    shelf.set(InvitationRow, InvitationRow.id == id_, state=state, **why, **at)
    if not out:
        shelf.set(Job, Job.id == row.job_id, state=JobState(state.value), **why)


ARRIVED = (0, DeliveryStatus.DELIVERED, None, False)


@example(given_updates=[ARRIVED, ARRIVED], states=["sent"] * 4)
@example(given_updates=[ARRIVED], states=["held"] * 4)
@example(given_updates=[ARRIVED], states=["failed"] * 4)
@example(given_updates=[ARRIVED], states=["delivered"] * 4)
@example(given_updates=[(0, DeliveryStatus.DELIVERED, Stop.COMPLAINED, False)], states=["sent"] * 4)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given_updates=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([None, *DeliveryStatus]),
            st.sampled_from([None, None, None, *Stop]),
            st.booleans(),
        ),
        max_size=12,
    ),
    states=st.lists(st.sampled_from(["sent", "sent", "delivered", "held", "failed"]), min_size=4, max_size=4),
)
def test_a_chunk_of_updates_has_the_same_results_as_one_update_at_a_time(post, given_updates, states):
    post.policy = BOTH_WAYS
    found, lists = [], {}
    for together in (True, False):
        names = [f"{new_id(post.shelf.clock()).hex}-{number}" for number in range(4)]
        people = [Person(email=f"{name}@example.org", phone=TEXT) for name in names]
        batch = post.shelf.add(*(customer(name, person=one) for name, one in zip(names, people, strict=True)))
        lists[together] = names, people, batch
    post.shelf.issue()
    post.shelf.send()
    for together, (names, people, batch) in lists.items():
        ids = [post.shelf.row(InvitationRow, job_id=post.shelf.job(name).id, channel="email").id for name in names]
        for id_, state in zip(ids, states, strict=True):
            put(post.shelf, id_, state)
        updates = [
            DeliveryUpdate("reported", ids[whose].hex, status=status, stop=stop, resume=resume and stop is None)
            for whose, status, stop, resume in given_updates
        ]
        results, post.due = [], set()
        for chunk in [updates] if together else [[one] for one in updates]:
            with post.shelf.database.write() as connection:
                results += post.deliver(connection, chunk)
        messages = [post.shelf.rows(InvitationRow, job_id=post.shelf.job(name).id) for name in names]
        found.append(
            (
                [(one.state, one.detail, one.changed) for one in results],
                post.due,
                [{row.channel: (row.state, row.reason, row.delivery_at) for row in rows} for rows in messages],
                [(row.state, row.reason) for row in (post.shelf.job(name) for name in names)],
                sorted(reason for _, reason in post.suppressed(*(("email", one.email) for one in people)).items()),
                sum(row.bounced for row in post.shelf.rows(BounceCount, batch_id=batch)),
            )
        )
    assert found[0] == found[1]
