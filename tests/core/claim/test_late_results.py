"""Late answers: whether an answer still applies to its row and settles the unknown outcome."""

from dataclasses import replace

import pytest

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Cancel, Done, Hold, Kind, Problem, Retry
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.core.rules.reconciliation import Nothing
from onboarding_worker.core.upkeep.expired_leases import EndedLeases
from onboarding_worker.core.work.store import call_costs
from tests.stored.reconciling import AFTER, LOST, advance, call, look_up, reconcilable, sweep
from tests.stored.shelf import customer


@pytest.fixture
def policy(shelf):
    """The policy of an account whose calls can be reconciled."""
    return reconcilable(shelf.policy)


@pytest.fixture
def texts(shelf):
    """The policy of a sender whose hand-overs can be reconciled."""
    return reconcilable(shelf.on("sms"))


def unanswered(shelf, policy):
    """A call whose row waits for its look-up: its lease has ended."""
    _, (opened,) = call(shelf, policy)
    advance(shelf, seconds=61)
    sweep(shelf)
    return opened


def test_an_answer_that_comes_while_the_row_waits_for_its_look_up_is_applied(shelf, policy):
    opened = unanswered(shelf, policy)
    assert shelf.finish(shelf.got(opened), policy=policy) == {"email"}
    row = shelf.job("Ona")
    assert (row.state, row.unknown_attempt, row.attempts, row.due_at) == (JobState.ISSUED, None, 1, None)
    assert shelf.row(Attempt).outcome == "done"
    assert shelf.row(SessionRow).id == row.session_id


def test_an_answer_that_comes_while_the_row_is_held_settles_the_unknown_outcome(shelf):
    _, (opened,) = call(shelf, shelf.policy)
    advance(shelf, seconds=61)
    assert sweep(shelf) == EndedLeases(held=1)
    shelf.finish(shelf.got(opened))
    assert (shelf.job("Ona").state, shelf.job("Ona").unknown_attempt) == (JobState.ISSUED, None)


def test_a_late_refusal_is_applied_too(shelf, policy):
    opened = unanswered(shelf, policy)
    shelf.finish(shelf.failed(opened, Kind.TRANSIENT, Retry(shelf.clock(), "transient", "HTTP 500")), policy=policy)
    row = shelf.job("Ona")
    assert (row.state, row.reason, row.unknown_attempt, row.attempts) == (JobState.WAITING, "transient", None, 1)


def test_a_late_refusal_of_a_call_that_is_about_to_be_repeated_is_applied_too(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim(), repeatable=True)
    advance(shelf, seconds=61)
    assert sweep(shelf) == EndedLeases(repeated=1)
    shelf.finish(shelf.failed(opened, Kind.BAD_INPUT, Cancel("bad_input", "HTTP 400")))
    assert (shelf.job("Ona").state, shelf.job("Ona").attempts) == (JobState.FAILED, 1)


def test_a_late_result_with_an_unknown_outcome_changes_nothing(shelf, policy):
    opened = unanswered(shelf, policy)
    before = shelf.job("Ona"), shelf.row(Attempt)
    advance(shelf, seconds=1)
    shelf.finish(CallResult(opened, shelf.clock(), Hold("unknown", "lost"), LOST), policy=policy)
    assert (shelf.job("Ona"), shelf.row(Attempt)) == before


def test_an_answer_that_comes_while_its_call_is_looked_up_is_applied_and_the_look_up_is_not(shelf, policy):
    opened = unanswered(shelf, policy)
    advance(shelf)
    looking = look_up(shelf, policy)
    shelf.finish(shelf.got(opened), policy=policy)
    shelf.finish(
        CallResult(looking, shelf.clock(), Retry(shelf.clock(), "unknown", "nothing"), found=Nothing()), policy=policy
    )
    assert (shelf.job("Ona").state, shelf.job("Ona").unknown_attempt) == (JobState.ISSUED, None)
    assert len(shelf.rows(SessionRow)) == 1


def test_an_answer_that_comes_while_its_call_is_looked_up_closes_the_look_up(shelf, policy):
    """The worker of the look-up may have died, and the job has no lease any more that would run out."""
    opened = unanswered(shelf, policy)
    advance(shelf)
    looking = look_up(shelf, policy)
    shelf.finish(shelf.got(opened), policy=policy)
    outcomes = {row.id: row.outcome for row in shelf.rows(Attempt)}
    assert outcomes == {opened.attempt_id: "done", looking.attempt_id: "unanswered"}


@pytest.mark.both_databases
def test_a_receipt_that_comes_while_its_text_is_looked_up_closes_the_look_up(shelf, texts):
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    (opened,) = shelf.open_messages(shelf.claim_messages(channel="sms"), policy=texts, repeatable=False)
    advance(shelf, seconds=61)
    sweep(shelf)
    advance(shelf)
    (looking,) = shelf.open_messages(shelf.claim_messages(channel="sms"), policy=texts, repeatable=False)
    assert looking.unknown_call is not None
    shelf.finish_messages(CallResult(opened, shelf.clock(), Done(), reference="SM1"), policy=texts)
    assert shelf.row(Attempt, id=looking.attempt_id).outcome == "unanswered"


def test_a_text_that_was_not_sent_gives_a_batch_no_credit_back(shelf, texts):
    batch = shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    shelf.open_messages(shelf.claim_messages(channel="sms"), policy=texts, repeatable=False)
    advance(shelf, seconds=61)
    sweep(shelf)
    advance(shelf)
    (looking,) = shelf.open_messages(shelf.claim_messages(channel="sms"), policy=texts, repeatable=False)
    nothing = CallResult(looking, shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish_messages(nothing, policy=texts)
    with shelf.database.read() as connection:
        assert call_costs.left(connection, batch, 1, 1) == 0


def test_the_credit_of_a_call_that_was_not_made_comes_back_once_though_it_is_being_looked_up(shelf):
    policy = reconcilable(shelf.ruled(credits=5))
    _, (opened, other) = call(shelf, policy, customer("Ona"), customer("Jonas"))
    shelf.finish(shelf.got(other), policy=policy)
    advance(shelf, seconds=61)
    sweep(shelf)
    advance(shelf)
    looking = look_up(shelf, policy)
    shelf.finish(CallResult(opened, shelf.clock(), None), policy=policy)
    nothing = CallResult(looking, shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(nothing, policy=policy)
    assert shelf.budgets.all()["kyc"].credits_used == 1


@pytest.mark.parametrize("repeated", [False, True])
def test_the_credit_of_a_session_that_was_opened_after_its_look_up_is_counted_again(shelf, repeated):
    """The look-up found nothing, and refunded the credit."""
    policy = reconcilable(shelf.ruled(credits=5))
    opened = unanswered(shelf, policy)
    advance(shelf)
    nothing = CallResult(look_up(shelf, policy), shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(nothing, policy=policy)
    assert shelf.budgets.all()["kyc"].credits_used == 0
    if repeated:
        shelf.open(shelf.claim(policy=policy), policy=policy)
    shelf.finish(shelf.got(opened), policy=policy)
    assert shelf.budgets.all()["kyc"].credits_used == 1 + repeated


def test_the_credit_of_a_late_session_is_counted_once_if_no_look_up_gave_it_back(shelf):
    policy = reconcilable(shelf.ruled(credits=5))
    opened = unanswered(shelf, policy)
    shelf.finish(shelf.got(opened), policy=policy)
    assert shelf.budgets.all()["kyc"].credits_used == 1


def test_a_session_that_comes_after_the_look_up_found_nothing_is_used_before_the_call_is_repeated(shelf, policy):
    opened = unanswered(shelf, policy)
    advance(shelf)
    nothing = CallResult(look_up(shelf, policy), shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(nothing, policy=policy)
    shelf.finish(shelf.got(opened), policy=policy)
    assert shelf.job("Ona").state is JobState.ISSUED
    assert shelf.claim(policy=policy) == []


def test_once_the_call_is_repeated_a_late_session_is_recorded_and_changes_nothing(shelf, policy):
    batch, (opened,) = call(shelf, policy)
    advance(shelf, seconds=61)
    sweep(shelf)
    advance(shelf)
    nothing = CallResult(look_up(shelf, policy), shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(nothing, policy=policy)
    (again,) = shelf.open(shelf.claim(policy=policy), policy=policy)
    before = shelf.job("Ona")
    shelf.finish(shelf.got(opened, shelf.session(reference="scan-late")), policy=policy)
    assert shelf.job("Ona") == before
    shelf.finish(shelf.got(again, shelf.session(reference="scan-mine")), policy=policy)
    (line,) = shelf.facts.lines(batch)
    assert (line.reference, line.late) == ("scan-mine", "scan-late")
    assert shelf.facts.counts(batch).accounts["kyc"].late == 1


@pytest.mark.both_databases
def test_a_late_session_of_a_cancelled_row_is_recorded_and_changes_nothing(shelf, policy, decide):
    batch, (opened,) = call(shelf, policy)
    advance(shelf, seconds=61)
    sweep(shelf)
    decide.cancel(batch, now=shelf.clock())
    shelf.finish(shelf.got(opened, shelf.session(reference="scan-late")), policy=policy)
    assert shelf.job("Ona").state is JobState.CANCELLED
    assert shelf.row(Attempt).found == "scan-late"
    assert shelf.rows(SessionRow) == []


def test_a_late_session_of_a_call_from_before_the_jobs_session_is_recorded_and_changes_nothing(shelf, policy):
    """The job has had a session since, which has ended: it waits for its next one as if no call were open."""
    opened = unanswered(shelf, policy)
    shelf.add(customer("Ona", purpose="other"))
    shelf.issue()
    shelf.set(SessionRow, purpose="onboarding")
    advance(shelf)
    assert shelf.claim(policy=policy) == []  # it reused the session that appeared meanwhile
    shelf.set(SessionRow, state=SessionState.EXPIRED)
    shelf.set(Job, Job.purpose == "onboarding", state=JobState.WAITING, due_at=shelf.clock())
    before = shelf.job("Ona", purpose="onboarding")
    assert (before.session_id is not None, before.unknown_attempt) == (True, None)

    shelf.finish(shelf.got(opened, shelf.session(reference="scan-late")), policy=policy)

    assert shelf.job("Ona", purpose="onboarding") == before
    assert len(shelf.rows(SessionRow)) == 1
    assert shelf.row(Attempt, id=opened.attempt_id).found == "scan-late"


@pytest.mark.parametrize("reconcilable", [True, False])
def test_a_late_receipt_settles_the_unknown_outcome_of_a_text(shelf, texts, reconcilable):
    texts = texts if reconcilable else shelf.on("sms")
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    messages = shelf.claim_messages(channel="sms")
    (opened,) = shelf.open_messages(messages, policy=texts, repeatable=False)
    advance(shelf, seconds=61)
    sweep(shelf)
    assert shelf.job("Ona").state is (JobState.ISSUED if reconcilable else JobState.HELD)
    shelf.finish_messages(CallResult(opened, shelf.clock(), Done(), reference="SM1"), policy=texts)
    message = shelf.row(InvitationRow)
    assert (message.state, message.reference, message.unknown_attempt) == (InvitationState.SENT, "SM1", None)
    assert shelf.job("Ona").state is JobState.INVITED


@pytest.mark.parametrize("kind", [Kind.BAD_INPUT, Kind.UNKNOWN])
def test_a_late_refusal_of_a_text_is_applied_and_a_late_unknown_outcome_changes_nothing(shelf, texts, kind):
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    (opened,) = shelf.open_messages(shelf.claim_messages(channel="sms"), policy=texts, repeatable=False)
    advance(shelf, seconds=61)
    sweep(shelf)
    before = shelf.row(InvitationRow)
    ending, problem = Cancel(kind.value, "no"), Problem(kind, "no")
    shelf.finish_messages(CallResult(opened, shelf.clock(), ending, problem=problem), policy=texts)
    message = shelf.row(InvitationRow)
    if kind is Kind.UNKNOWN:
        assert message == before
    else:
        assert (message.state, message.unknown_attempt) == (InvitationState.FAILED, None)


def test_a_late_receipt_of_an_earlier_session_does_not_settle_what_the_job_is_held_for_now(shelf, texts):
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    messages = shelf.claim_messages(channel="sms")
    (opened,) = shelf.open_messages(messages, policy=shelf.on("sms"), repeatable=False)
    advance(shelf, seconds=61)
    sweep(shelf)
    shelf.set(Job, reason="conflict")  # of the call for the next session
    shelf.finish_messages(CallResult(opened, shelf.clock(), Done(), reference="SM1"), policy=texts)
    assert shelf.row(InvitationRow).state is InvitationState.SENT
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.HELD, "conflict")


@pytest.mark.parametrize("reconcilable", [True, False])
def test_a_stopped_worker_that_continues_and_has_not_called_settles_the_unknown_outcome(shelf, reconcilable):
    """Its lease is over, so it does not make the call. The row waits again, and no person must decide."""
    policy = replace(shelf.ruled(credits=5), reconcile_after=AFTER if reconcilable else None)
    _, (opened,) = call(shelf, policy)
    before = opened.due_at
    advance(shelf, seconds=61)
    sweep(shelf)
    assert shelf.job("Ona").unknown_attempt is not None
    shelf.finish(CallResult(opened, shelf.clock(), None), policy=policy)
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.unknown_attempt, row.reason) == (JobState.WAITING, before, None, "")
    assert shelf.row(Attempt).outcome == "not_sent"
    assert shelf.budgets.all()["kyc"].credits_used == 0


@pytest.mark.both_databases
def test_a_mail_whose_receipt_comes_while_it_is_sent_again_is_recorded_as_late(shelf):
    """Otherwise nothing would say why the customer got it twice."""
    shelf.add(customer("Ona"))
    shelf.issue()
    mail = shelf.on("email")
    (opened,) = shelf.open_messages(shelf.claim_messages(), policy=mail)
    advance(shelf, seconds=61)
    sweep(shelf)
    advance(shelf, hours=1)
    (again,) = shelf.open_messages(shelf.claim_messages(), policy=mail)
    shelf.finish_messages(CallResult(opened, shelf.clock(), Done()), policy=mail)
    shelf.finish_messages(CallResult(again, shelf.clock(), Done()), policy=mail)
    outcomes = {row.id: row.outcome for row in shelf.rows(Attempt)}
    assert (outcomes[opened.attempt_id], outcomes[again.attempt_id]) == ("late", "done")
    assert shelf.row(InvitationRow).state is InvitationState.SENT


@pytest.mark.parametrize("reconcilable", [True, False])
def test_a_text_that_a_stopped_worker_has_not_sent_is_released(shelf, texts, reconcilable):
    texts = texts if reconcilable else shelf.on("sms")
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    (opened,) = shelf.open_messages(shelf.claim_messages(channel="sms"), policy=texts, repeatable=False)
    advance(shelf, seconds=61)
    sweep(shelf)
    shelf.finish_messages(CallResult(opened, shelf.clock(), None), policy=texts)
    message = shelf.row(InvitationRow)
    assert (message.state, message.unknown_attempt) == (InvitationState.WAITING, None)
    assert shelf.job("Ona").state is JobState.ISSUED


def test_a_call_that_was_not_made_changes_nothing_for_the_new_owner_of_the_row(shelf, policy):
    opened = unanswered(shelf, policy)
    advance(shelf)
    nothing = CallResult(look_up(shelf, policy), shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(nothing, policy=policy)
    shelf.open(shelf.claim(policy=policy), policy=policy)
    shelf.finish(CallResult(opened, shelf.clock(), None), policy=policy)
    assert shelf.job("Ona").state is JobState.WORKING
