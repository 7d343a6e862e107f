"""The facts of one customer: each session, why it was opened, and its cost."""

from dataclasses import replace
from datetime import timedelta

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.model.endings import Done, Hold, Kind
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.contact import Caps, ContactPolicy
from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.core.upkeep.expired_sessions import ExpiryPolicy, check
from tests.stored.shelf import WEEK, customer, facts_about


def test_a_customers_sessions_are_a_chain_with_the_reason_of_each(shelf):
    assert facts_about(shelf) is None
    batch = shelf.add(customer("Ona"), customer("Rasa"))
    jobs = shelf.claim()
    (opened, other) = shelf.open(jobs)
    shelf.finish(shelf.got(opened, shelf.session(lifetime=timedelta(hours=13))), shelf.got(other))
    shelf.clock.advance(hours=2)  # Ona's link is too old by then
    (message,) = shelf.flush_messages().opened
    assert message.customer.customer_id == "Rasa"
    shelf.finish_messages(CallResult(message, shelf.clock(), Done()))
    shelf.clock.advance(hours=11)
    shelf.issue()
    shelf.clock.advance(seconds=1)
    shelf.send()
    shelf.clock.now += WEEK + SETTLES
    check(shelf.database, shelf.keyring, ExpiryPolicy(ContactPolicy(Caps(3, 6), timedelta(0), None)), now=shelf.clock())
    opened = {item.customer.customer_id: item for item in shelf.open(shelf.claim())}
    no_answer = Hold("unknown", "no answer")
    shelf.finish(shelf.failed(opened["Ona"], Kind.UNKNOWN, no_answer), shelf.got(opened["Rasa"]))

    facts = facts_about(shelf)
    assert [(one.because, one.state, one.reference) for one in facts.sessions] == [
        ("first", "expired", "scan-1"),
        ("stale_link", "expired", "scan-3"),
    ]
    assert [(one.state, one.reason) for one in facts.sessions[0].messages] == [("superseded", "stale_link")]
    assert (facts.messages, facts.erased) == (1, False)
    assert (facts.credits, facts.lost_calls) == ({"kyc": 3}, {"kyc": 1})
    assert [(job.batch, job.row, job.state, job.reason) for job in facts.jobs] == [(batch, 2, "held", "unknown")]
    assert [one.because for one in facts_about(shelf, "Rasa").sessions] == ["first", "session_expired"]


def test_a_row_that_joined_shows_the_state_of_the_one_that_it_joined(shelf):
    shelf.add(customer("Ona"))
    second = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    (_, joined) = facts_about(shelf).jobs
    assert (joined.batch, joined.state, joined.joined) == (second, "invited", True)


def test_a_session_that_was_replaced_alive_shows_it(shelf):
    shelf.policy = replace(shelf.policy, reissue_at=lambda expires_at: expires_at - WEEK)
    shelf.add(customer("Ona"))
    shelf.issue(lifetime=timedelta(hours=13))
    shelf.send()
    shelf.set(Job, state=JobState.CANCELLED)
    shelf.clock.advance(hours=2)
    shelf.add(customer("Ona"))
    shelf.issue()
    assert [one.because for one in facts_about(shelf).sessions] == ["first", "session_superseded"]
