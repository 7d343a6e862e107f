"""What is stored of a message once its hand-over has ended, besides its state."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.stored.reconciling import advance, reconcilable, sweep
from tests.stored.shelf import customer
from worker.core.customers.customers import Channel
from worker.core.database.tables import Attempt, InvitationRow, Job
from worker.core.limits.store.flush import CallResult
from worker.core.messages.contact import Wording
from worker.core.model.endings import Cancel, Done, Kind, Problem, Retry
from worker.core.model.states import LATE, InvitationState, JobState
from worker.core.unknown.reconciliation import Nothing

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
