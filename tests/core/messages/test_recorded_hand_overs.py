"""What is stored of a message once its hand-over has ended, besides its state."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, BounceCount, InvitationRow, Job, SessionRow, Suppression
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import AddressIs, Cancel, Done, Hold, Kind, Problem, Retry
from onboarding_worker.core.model.states import LATE, InvitationState, JobState
from onboarding_worker.core.rules.contact import PauseRule, Wording
from onboarding_worker.core.rules.reconciliation import Nothing
from tests.stored.reconciling import advance, reconcilable, sweep
from tests.stored.shelf import changed, customer

AGAIN = timedelta(minutes=5)
NEW = {Wording.NEW_LINK, Wording.TRY_AGAIN}


def opened(shelf, *, who=None, channel="email", policy=None, **how):
    shelf.add(who or customer("Ona", channel=Channel(channel)))
    shelf.issue()
    (message,) = shelf.open_messages(shelf.claim_messages(channel=channel), policy=policy, **how)
    return message


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("wording", Wording)
def test_it_is_stored_whether_the_words_were_those_of_a_new_link(shelf, wording, again):
    message = replace(opened(shelf), wording=wording)
    ending = Retry(shelf.clock() + AGAIN, "transient", "450") if again else Done()
    shelf.finish_messages(CallResult(message, shelf.clock(), ending))
    assert shelf.row(InvitationRow).new_link is (wording in NEW)


def test_a_message_that_did_not_leave_has_no_time_at_which_it_did(shelf):
    message = opened(shelf)
    shelf.finish_messages(CallResult(message, shelf.clock(), Retry(shelf.clock() + AGAIN, "transient", "450")))
    assert shelf.row(InvitationRow).sent_at is None


def looked_up(shelf):
    """A text whose receipt did not come in time, its look-up, and the policy of both."""
    policy = reconcilable(shelf.on("sms"))
    sent = opened(shelf, channel="sms", policy=policy, repeatable=False)
    advance(shelf, seconds=61)
    sweep(shelf)
    advance(shelf)
    (looking,) = shelf.open_messages(shelf.claim_messages(channel="sms"), policy=policy, repeatable=False)
    return sent, looking, policy


def test_a_receipt_that_comes_late_is_of_the_time_at_which_it_came(shelf):
    sent, _, policy = looked_up(shelf)
    shelf.finish_messages(
        CallResult(sent, shelf.clock(), Done(), reference="SM1", template="d1", segments=3), policy=policy
    )
    row = shelf.row(InvitationRow)
    assert (row.state, row.sent_at, row.reference) == (InvitationState.SENT, shelf.clock(), "SM1")
    assert (row.template, row.segments, row.unknown_attempt) == ("d1", 3, None)
    assert shelf.job("Ona").state is JobState.INVITED


def test_a_look_up_leaves_what_the_message_was_made_from(shelf):
    _, looking, policy = looked_up(shelf)
    shelf.set(InvitationRow, template="d1", segments=3)
    shelf.finish_messages(
        CallResult(looking, shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing()), policy=policy
    )
    assert (shelf.row(InvitationRow).template, shelf.row(InvitationRow).segments) == ("d1", 3)


@pytest.mark.parametrize(
    ("kind", "ending", "more"),
    [(Kind.UNKNOWN, Retry, 1), (Kind.UNKNOWN, Cancel, 1), (Kind.TRANSIENT, Retry, 0), (Kind.BAD_INPUT, Cancel, 0)],
)
def test_only_a_hand_over_itself_may_stay_unknown_and_no_look_up_of_it(shelf, kind, ending, more):
    def end(item, policy):
        how = Retry(shelf.clock(), kind.value, "") if ending is Retry else Cancel(kind.value, "")
        shelf.finish_messages(CallResult(item, shelf.clock(), how, problem=Problem(kind, "")), policy=policy)
        return [row.unknown_handovers for row in shelf.rows(InvitationRow)]

    _, looking, policy = looked_up(shelf)
    assert end(looking, policy) == [0]
    shelf.set(InvitationRow, state=InvitationState.FAILED)
    assert end(opened(shelf, who=customer("Rasa")), None) == [0, more]


def test_a_receipt_that_comes_too_late_is_kept_with_its_attempt_alone(shelf):
    sent = opened(shelf, repeatable=True)
    advance(shelf, seconds=61)
    sweep(shelf)
    shelf.set(InvitationRow, state=InvitationState.FAILED, fence=9)
    shelf.set(Job, state=JobState.FAILED)
    before = shelf.row(InvitationRow), shelf.job("Ona")
    shelf.finish_messages(CallResult(sent, shelf.clock(), Done(), reference="queued as 4F8"))
    attempt = shelf.row(Attempt, id=sent.attempt_id)
    assert (attempt.outcome, attempt.found) == (LATE, "queued as 4F8")
    assert (shelf.row(InvitationRow), shelf.job("Ona")) == before


@pytest.mark.parametrize(
    ("state", "about", "becomes"),
    [
        (JobState.HELD, {}, JobState.INVITED),
        (JobState.HELD, {"unknown_attempt": UUID(int=1)}, JobState.HELD),
        (JobState.HELD, {"reason": "second_session"}, JobState.HELD),
        (JobState.HELD, {"reason": "conflict"}, JobState.HELD),
        (JobState.HELD, {"reason": "answer_repeated"}, JobState.HELD),
        (JobState.COMPLETED, {}, JobState.COMPLETED),
        (JobState.CANCELLED, {}, JobState.CANCELLED),
    ],
)
def test_a_receipt_that_settles_a_held_message_frees_its_own_job_if_that_is_held_for_it(shelf, state, about, becomes):
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    ona, _ = sorted(
        shelf.open_messages(shelf.claim_messages(), repeatable=False), key=lambda one: one.customer.customer_id != "Ona"
    )
    advance(shelf, seconds=61)
    sweep(shelf)
    assert {job.state for job in shelf.rows(Job)} == {JobState.HELD}
    shelf.set(Job, Job.customer_id == "Ona", state=state, **about)
    shelf.finish_messages(CallResult(ona, shelf.clock(), Done()))
    assert shelf.job("Ona").state is becomes
    assert shelf.job("Jonas").state is JobState.HELD


def test_only_a_first_message_that_left_is_followed_by_reminders(shelf):
    shelf.message_policy = changed(shelf.message_policy, reminders=(timedelta(days=2),))
    for kind, ending, reminded in [
        ("invitation", Done(), True),
        ("invitation", Retry(shelf.clock() + AGAIN, "transient", "450"), False),
        ("resend-1", Done(), False),
    ]:
        shelf.add(customer(f"{kind} {reminded}"))
        shelf.issue()
        session = shelf.job(f"{kind} {reminded}").session_id
        shelf.set(InvitationRow, InvitationRow.session_id == session, kind=kind)
        shelf.hand_over(shelf.claim_messages(), ending)
        kinds = {row.kind for row in shelf.rows(InvitationRow, session_id=session)}
        assert ("reminder-1" in kinds) is reminded, (kind, ending)


@pytest.mark.parametrize(
    ("address", "ending", "state"),
    [
        (AddressIs.GONE, Cancel("bad_input", "550"), InvitationState.BOUNCED),
        (AddressIs.GONE, Hold("unknown", "550"), InvitationState.HELD),
        (AddressIs.OPTED_OUT, Retry(None, "transient", "550"), InvitationState.WAITING),
        (AddressIs.REFUSED, Cancel("attempts_spent", "550"), InvitationState.BOUNCED),
        (None, Cancel("attempts_spent", "550"), InvitationState.FAILED),
        (None, Cancel("bad_input", "550"), InvitationState.FAILED),
    ],
)
def test_only_a_message_that_is_given_up_has_an_address_that_was_refused(shelf, address, ending, state):
    if isinstance(ending, Retry):
        ending = replace(ending, at=shelf.clock() + AGAIN)
    message = opened(shelf)
    shelf.finish_messages(
        CallResult(message, shelf.clock(), ending, problem=Problem(Kind.BAD_INPUT, "", address=address))
    )
    row = shelf.row(InvitationRow)
    refused = {InvitationState.BOUNCED: "bounced", InvitationState.FAILED: "message_refused"}
    expected = refused.get(state, ending.reason)
    assert row.state is state
    assert row.reason == ("attempts_spent" if address is None and ending.reason == "attempts_spent" else expected)
    suppressed = {AddressIs.GONE} if isinstance(ending, Cancel) else set()
    assert len(shelf.rows(Suppression)) == (address in suppressed)


@pytest.mark.parametrize("settles", [True, False])
def test_the_session_of_a_message_whose_unknown_outcome_is_settled_is_looked_at(shelf, settles):
    if settles:
        _, item, policy = looked_up(shelf)
    else:
        item, policy = opened(shelf), shelf.message_policy
    shelf.set(SessionRow, check_at=None)
    shelf.finish_messages(CallResult(item, shelf.clock(), Done()), policy=policy)
    assert shelf.row(InvitationRow).state is InvitationState.SENT
    assert (shelf.row(SessionRow).check_at is not None) is settles


def test_a_batch_counts_what_left_or_was_refused_for_its_address_and_nothing_else(shelf):
    shelf.message_policy = changed(shelf.message_policy, pause=PauseRule(10, 1000))
    later = shelf.clock() + AGAIN
    cases = [
        (Done(), None, (1, 0)),
        (Cancel("bad_input", "550"), None, (1, 1)),
        (Cancel("bad_input", "550"), AddressIs.GONE, (1, 1)),
        (Cancel("bad_input", "550"), AddressIs.ELSEWHERE, (0, 0)),
        (Cancel("attempts_spent", "450"), None, (0, 0)),
        (Retry(later, "bad_input", "450"), None, (0, 0)),
        (Hold("bad_input", "450"), None, (0, 0)),
        (None, None, (0, 0)),
    ]
    for number, (ending, address, expected) in enumerate(cases):
        batch = shelf.add(customer(f"C-{number}"))
        shelf.issue()
        (message,) = shelf.open_messages(shelf.claim_messages())
        problem = None if ending is None or ending == Done() else Problem(Kind.BAD_INPUT, "550", address=address)
        shelf.finish_messages(CallResult(message, shelf.clock(), ending, problem=problem))
        counts = [(row.tried, row.refused, row.bounced) for row in shelf.rows(BounceCount, batch_id=batch)]
        assert counts == ([(*expected, 0)] if any(expected) else []), (ending, address)
        shelf.set(InvitationRow, state=InvitationState.FAILED)
