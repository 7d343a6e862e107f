"""A row that takes the place of another list's row: what it goes on with, and what it must not do anew."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.contact import Caps
from onboarding_worker.core.upkeep.expired_sessions import check
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.providers.webhooks.contract import Key
from tests.core.upkeep.test_expired_sessions import DAY, TERMS, invited, let_expire
from tests.stored.own_link import LINKS, say_not_me
from tests.stored.shelf import changed, customer
from tests.stored.webhook_feed import REVIEW, WebhookFeed


def put_in_review(shelf):
    reference = shelf.row(SessionRow).reference
    WebhookFeed(shelf).receive(replace(REVIEW, match=((Key.SCAN_REF, reference),)))


def waits_after_an_unused_end(shelf, keyring, policy):
    """A customer whose session ended unused; returns the batch."""
    batch = invited(shelf, lifetime=timedelta(hours=20))
    let_expire(shelf, after=timedelta(hours=21))
    check(shelf.database, keyring, policy, now=shelf.clock())
    return batch


def test_a_successor_waits_for_the_review_of_the_session_before(shelf, decide, keyring):
    waits_after_an_unused_end(shelf, keyring, changed(TERMS, spacing=2 * DAY))
    own = shelf.add(customer("Ona"))
    assert decide.take_leads(own, stopped_only=False, now=shelf.clock()) == 1
    put_in_review(shelf)
    successor = shelf.row(Job, batch_id=own)
    assert (successor.state, successor.result, successor.session_id) == (
        JobState.INVITED,
        "review",
        shelf.row(SessionRow).id,
    )
    shelf.clock.advance(days=3)
    assert shelf.claim() == []


def test_a_successor_asks_about_the_session_before_instead_of_buying_one(shelf, decide, keyring):
    policy = changed(TERMS, caps=Caps(0, 100), lists=["kyc"], can_ask=lambda: {"kyc"})
    batch = waits_after_an_unused_end(shelf, keyring, policy)
    own = shelf.add(customer("Ona"), account="au")
    decide.interrupt(batch, by="ann", now=shelf.clock())
    assert shelf.row(Job, batch_id=own).leader_id is None
    (job,) = shelf.claim()  # of the account that opened the session: no other account knows it
    assert (job.batch_id, job.looks_up, job.session_id) == (own, True, shelf.row(SessionRow).id)


@pytest.mark.both_databases
def test_the_successor_of_a_cancelled_row_waits_for_the_review_of_its_session(shelf, decide, keyring):
    batch = waits_after_an_unused_end(shelf, keyring, changed(TERMS, spacing=2 * DAY))
    shelf.add(customer("Ona"))
    put_in_review(shelf)
    decide.cancel(batch, now=shelf.clock())
    assert shelf.claim() == []
    assert [row.result for row in shelf.rows(Job, leader_id=None) if row.state is JobState.INVITED] == ["review"]


@pytest.mark.parametrize("how", ["cancelled", "given up"])
def test_the_successor_of_a_row_whose_link_was_for_another_person_is_held_too(shelf, decide, keyring, how):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    say_not_me(shelf, keyring)
    own = shelf.add(customer("Ona"))
    if how == "cancelled":
        decide.cancel(batch, now=shelf.clock())
    else:
        decide.resolve(Which(batch), Verdict.ABANDON, now=shelf.clock())
    successor = shelf.row(Job, batch_id=own)
    assert (successor.state, successor.reason, successor.leader_id) == (JobState.HELD, "not_me", None)
    assert shelf.claim() == []


@pytest.mark.parametrize("reused", [True, False])
def test_no_text_of_the_row_that_led_before_leaves_after_a_visitor_said_that_the_link_is_not_theirs(
    shelf, decide, keyring, reused
):
    _, own = shelf.add(customer("Ona", channel=Channel.BOTH)), shelf.add(customer("Ona"))
    shelf.issue()
    decide.take_leads(own, stopped_only=False, now=shelf.clock())
    if reused:
        shelf.claim()
        shelf.send()
    say_not_me(shelf, keyring)
    assert shelf.flush_messages(policy=replace(shelf.on("sms"), stable=LINKS)).opened == []
