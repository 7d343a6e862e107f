"""Rows in doubt: what they wait for, what is known of them, and what others' decisions make of them."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from worker.customers import Channel
from worker.endings import Cancel, Done, Hold, Kind, LookUp, Problem, Retry
from worker.lookups import More, Nothing, Strangers
from worker.models import Attempt, InvitationRow, Job, SessionRow
from worker.states import InvitationState, JobState
from worker.store import schema
from worker.store.attempts import IssueResult
from worker.store.decisions import Stake, Verdict, Which
from worker.store.doubts import InDoubt
from worker.store.handovers import InviteResult
from worker.store.sweeps import Returned

from .shelf import POLICY, customer

AFTER = timedelta(seconds=15)  # the call's time-out and the margin
LOST = Problem(Kind.UNKNOWN, "connection closed without an answer")


@pytest.fixture
def terms(shelf):
    """Of an account whose calls can be looked up."""
    return replace(shelf.terms, look_up_after=AFTER)


@pytest.fixture
def texts(shelf):
    """Of a sender whose hand-overs can be looked up."""
    return replace(shelf.on("sms"), look_up_after=AFTER)


def call(shelf, terms, *customers):
    """Rows whose calls are out; the batch and what was opened."""
    batch = shelf.add(*(customers or [customer("Ona")]))
    return batch, shelf.open(shelf.take(terms=terms), terms=terms)


def drop(shelf, terms, *customers):
    """Rows whose answers were lost; the batch."""
    batch, opened = call(shelf, terms, *customers)
    ends = [IssueResult(item, shelf.clock(), LookUp(item.look_up_at, "unknown", "lost"), LOST) for item in opened]
    shelf.finish(*ends, terms=terms)
    return batch


def later(shelf, **step):
    shelf.clock.advance(**(step or {"seconds": 75}))


def sweep(shelf):
    return shelf.sweeps.return_leases(POLICY, now=shelf.clock())


def look_up(shelf, terms):
    """The look-up that is due, written down."""
    (opened,) = shelf.open(shelf.take(terms=terms), terms=terms)
    assert opened.job.doubt is not None
    return opened


# What is written down, and what a lease that has run out makes of it.


def test_an_attempt_says_when_it_may_be_looked_up(shelf, terms):
    _, (opened,) = call(shelf, terms)
    attempt = shelf.row(Attempt)
    assert attempt.look_up_at == shelf.job("Ona").lease_until + AFTER == opened.look_up_at
    assert attempt.looks_up is None


def test_an_attempt_that_may_be_repeated_or_cannot_be_looked_up_is_never(shelf, terms):
    shelf.add(customer("Ona"))
    shelf.open(shelf.take(), repeatable=True, terms=terms)
    shelf.add(customer("Jonas"))
    shelf.open(shelf.take())
    assert [row.look_up_at for row in shelf.rows(Attempt)] == [None, None]


def test_a_call_of_a_worker_that_is_gone_is_looked_up_when_its_attempt_says(shelf, terms):
    call(shelf, terms)
    attempt = shelf.row(Attempt)
    later(shelf, seconds=61)
    assert sweep(shelf) == Returned(in_doubt=1)
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.in_doubt, row.attempts) == (
        JobState.WAITING,
        attempt.look_up_at,
        attempt.id,
        1,
    )
    assert shelf.take(terms=terms) == []
    later(shelf)
    (taken,) = shelf.take(terms=terms)
    assert (taken.doubt.attempt_id, taken.doubt.opened_at) == (attempt.id, attempt.opened_at)


def test_a_hand_over_of_a_worker_that_is_gone_is_looked_up_when_its_attempt_says(shelf, texts):
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    letters = shelf.take_letters(channel="sms")
    shelf.handovers.open(texts, letters, repeatable=False, now=shelf.clock())
    later(shelf, seconds=61)
    assert sweep(shelf) == Returned(in_doubt=1)
    assert (shelf.row(InvitationRow).state, shelf.job("Ona").state) == (InvitationState.WAITING, JobState.ISSUED)
    later(shelf)
    (letter,) = shelf.take_letters(channel="sms")
    assert letter.doubt is not None


def test_a_row_that_was_only_taken_for_its_look_up_is_still_in_doubt(shelf, terms):
    drop(shelf, terms)
    before = shelf.job("Ona").in_doubt
    later(shelf)
    shelf.take(terms=terms)
    later(shelf, seconds=61)
    assert sweep(shelf) == Returned(free=1)
    assert shelf.job("Ona").in_doubt == before
    look_up(shelf, terms)
    later(shelf, seconds=61)
    assert sweep(shelf) == Returned(in_doubt=1)
    row = shelf.job("Ona")
    assert (row.state, row.in_doubt, row.attempts) == (JobState.WAITING, before, 1)


def test_a_look_up_that_was_not_made_gives_its_row_back_as_it_was(shelf, terms):
    drop(shelf, terms)
    later(shelf)
    before = shelf.job("Ona")
    opened = look_up(shelf, terms)
    shelf.finish(IssueResult(opened, shelf.clock(), None), terms=terms)
    row = shelf.job("Ona")
    assert (row.state, row.in_doubt, row.due_at, row.attempts) == (
        JobState.WAITING,
        before.in_doubt,
        before.due_at,
        before.attempts,
    )


@pytest.mark.forgets_what_was_told
def test_the_release_before_finds_what_waits_to_be_looked_up_held(shelf, terms, texts):
    """It would call again, which nobody has decided."""
    drop(shelf, terms)
    shelf.add(customer("Jonas", channel=Channel.SMS))
    shelf.issue()
    opened = shelf.handovers.open(texts, shelf.take_letters(channel="sms"), repeatable=False, now=shelf.clock())
    lost = LookUp(opened[0].look_up_at, "unknown", "lost")
    shelf.handovers.finish(texts, [InviteResult(opened[0], shelf.clock(), lost, LOST)], now=shelf.clock())
    try:
        schema.downgrade(shelf.database, "0001")
        with shelf.database.read() as connection:
            jobs = connection.execute(sa.text("SELECT state, reason, due_at FROM job")).all()
            messages = connection.execute(sa.text("SELECT state, reason, due_at FROM invitation")).all()
    finally:
        schema.upgrade(shelf.database)
    assert set(jobs) == {("held", "unknown", None)}
    assert messages == [("held", "unknown", None)]


# What is known of the customer.


def test_sessions_of_the_customer_are_known_and_others_are_not(shelf, terms):
    shelf.add(customer("Ona", purpose="earlier"), customer("Jonas"))
    shelf.issue(lifetime=timedelta(seconds=1))
    mine, other = (shelf.row(SessionRow, customer_id=name).reference for name in ("Ona", "Jonas"))
    drop(shelf, terms)
    later(shelf)
    (taken,) = shelf.take(terms=terms)
    assert mine in taken.doubt.known
    assert other not in taken.doubt.known


def test_what_a_look_up_found_and_a_person_decided_about_is_known_to_the_next_doubt_alone(shelf, terms, decide):
    batch = drop(shelf, terms)
    later(shelf)
    opened = look_up(shelf, terms)
    found = Strangers(("scan-lost",), "the provider has scan-lost")
    shelf.finish(IssueResult(opened, shelf.clock(), Hold("unknown", found.detail), found=found), terms=terms)
    assert shelf.job("Ona").in_doubt is not None
    assert decide.resolve(Which(batch), Verdict.REPEAT, now=shelf.clock()).rows == 1
    assert shelf.job("Ona").in_doubt is None
    (again,) = shelf.open(shelf.take(terms=terms), terms=terms)
    shelf.finish(IssueResult(again, shelf.clock(), LookUp(shelf.clock(), "unknown", "lost"), LOST), terms=terms)
    (taken,) = shelf.take(terms=terms)
    assert taken.doubt.known == {"scan-lost"}


def test_of_two_calls_that_were_out_at_once_neither_is_called_again_for_what_a_look_up_found(shelf, terms):
    """The provider lists by customer, not by purpose: whose a stranger is, nobody knows."""
    drop(shelf, terms, customer("Ona"), customer("Ona", purpose="renewal"))
    later(shelf)
    first, second = shelf.take(terms=terms, most=1), shelf.take(terms=terms, most=1)
    (opened,) = shelf.open(first, terms=terms)
    shelf.finish(
        IssueResult(opened, shelf.clock(), Hold("unknown", "two"), found=Strangers(("one", "two"), "two")), terms=terms
    )
    assert second[0].doubt.known == frozenset()
    later(shelf, seconds=61)
    sweep(shelf)
    (again,) = shelf.take(terms=terms)
    assert again.doubt.known == frozenset()


def test_pages_and_failures_of_the_look_ups_so_far_are_counted(shelf, terms):
    drop(shelf, terms)
    later(shelf)
    now = shelf.clock()
    again = LookUp(now, "unknown", "again")
    for end in (
        {"found": More()},
        {"problem": Problem(Kind.TRANSIENT, "HTTP 500")},
        {"problem": Problem(Kind.UNKNOWN, "dropped")},
        {"problem": Problem(Kind.RATE_LIMITED, "HTTP 429")},
        {"problem": Problem(Kind.TRANSIENT, "connection refused", unreachable=True)},
    ):
        shelf.finish(IssueResult(look_up(shelf, terms), now, again, **end), terms=terms)
        later(shelf, minutes=30)
    (taken,) = shelf.take(terms=terms)
    assert (taken.doubt.page, taken.doubt.failures) == (2, 2)


def test_a_row_in_doubt_whose_attempt_is_gone_is_still_not_called_plainly(shelf, terms):
    drop(shelf, terms)
    with shelf.database.write() as connection:
        connection.execute(sa.delete(Attempt))
    later(shelf)
    (taken,) = shelf.take(terms=terms)
    assert taken.doubt is not None


def test_a_look_up_counts_as_a_request_and_not_as_a_session(shelf, terms):
    batch = drop(shelf, terms)
    later(shelf)
    found = IssueResult(look_up(shelf, terms), shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(found, terms=terms)
    facts = shelf.facts.counts(batch).accounts["kyc"]
    assert (facts.requests, facts.issued, facts.errors, facts.late) == (2, 0, 1, 0)


def test_a_look_up_costs_no_credit_whatever_it_is_answered(shelf):
    terms = replace(shelf.ruled(credits=5), look_up_after=AFTER)
    drop(shelf, terms)
    later(shelf)
    for kind in (Kind.BAD_INPUT, Kind.RATE_LIMITED):
        again = LookUp(shelf.clock(), "unknown", "again")
        shelf.finish(IssueResult(look_up(shelf, terms), shelf.clock(), again, Problem(kind, "no")), terms=terms)
        later(shelf, minutes=30)
        assert shelf.budgets.all()["kyc"].credits_used == 1
    nothing = Retry(shelf.clock(), "unknown", "")
    shelf.finish(IssueResult(look_up(shelf, terms), shelf.clock(), nothing, found=Nothing()), terms=terms)
    assert shelf.budgets.all()["kyc"].credits_used == 0  # what was not carried out has cost nothing


def test_at_the_cap_on_credits_what_is_in_doubt_is_looked_up_and_nothing_else_is_called(shelf):
    terms = replace(shelf.ruled(credits=1), look_up_after=AFTER)
    drop(shelf, terms)
    later(shelf)
    shelf.add(customer("Jonas"))
    opened = look_up(shelf, terms)
    assert shelf.budgets.all()["kyc"].stopped_at is None
    nothing = IssueResult(opened, shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(nothing, terms=terms)
    # The credit that the lost call did not cost is there again.
    assert len(shelf.open(shelf.take(terms=terms), terms=terms)) == 1
    assert shelf.take(terms=terms) == []
    assert shelf.budgets.all()["kyc"].stopped_at is not None


# Answers that come late.


def test_an_answer_that_comes_while_the_row_waits_for_its_look_up_is_the_answer(shelf, terms):
    _, (opened,) = call(shelf, terms)
    later(shelf, seconds=61)
    sweep(shelf)
    assert shelf.finish(shelf.got(opened), terms=terms) == {"email"}
    row = shelf.job("Ona")
    assert (row.state, row.in_doubt, row.attempts, row.due_at) == (JobState.ISSUED, None, 1, None)
    assert shelf.row(Attempt).outcome == "done"
    assert shelf.row(SessionRow).id == row.session_id


def test_an_answer_that_comes_while_the_row_is_held_for_it_ends_the_doubt(shelf):
    _, (opened,) = call(shelf, shelf.terms)
    later(shelf, seconds=61)
    assert sweep(shelf) == Returned(held=1)
    shelf.finish(shelf.got(opened))
    assert (shelf.job("Ona").state, shelf.job("Ona").in_doubt) == (JobState.ISSUED, None)


def test_a_late_refusal_is_the_answer_too(shelf, terms):
    _, (opened,) = call(shelf, terms)
    later(shelf, seconds=61)
    sweep(shelf)
    shelf.finish(shelf.failed(opened, Kind.TRANSIENT, Retry(shelf.clock(), "transient", "HTTP 500")), terms=terms)
    row = shelf.job("Ona")
    assert (row.state, row.reason, row.in_doubt, row.attempts) == (JobState.WAITING, "transient", None, 1)


def test_a_late_refusal_of_a_call_that_is_about_to_be_repeated_is_the_answer_too(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.take(), repeatable=True)
    later(shelf, seconds=61)
    assert sweep(shelf) == Returned(repeated=1)
    shelf.finish(shelf.failed(opened, Kind.BAD_INPUT, Cancel("bad_input", "HTTP 400")))
    assert (shelf.job("Ona").state, shelf.job("Ona").attempts) == (JobState.FAILED, 1)


def test_an_answer_that_comes_while_it_is_looked_up_is_the_answer_and_the_look_up_is_not(shelf, terms):
    _, (opened,) = call(shelf, terms)
    later(shelf, seconds=61)
    sweep(shelf)
    later(shelf)
    looking = look_up(shelf, terms)
    shelf.finish(shelf.got(opened), terms=terms)
    shelf.finish(
        IssueResult(looking, shelf.clock(), Retry(shelf.clock(), "unknown", "nothing"), found=Nothing()), terms=terms
    )
    assert (shelf.job("Ona").state, shelf.job("Ona").in_doubt) == (JobState.ISSUED, None)
    assert len(shelf.rows(SessionRow)) == 1


def test_a_session_that_comes_after_the_look_up_found_nothing_is_used_before_the_call_is_made_again(shelf, terms):
    _, (opened,) = call(shelf, terms)
    later(shelf, seconds=61)
    sweep(shelf)
    later(shelf)
    nothing = IssueResult(look_up(shelf, terms), shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(nothing, terms=terms)
    shelf.finish(shelf.got(opened), terms=terms)
    assert shelf.job("Ona").state is JobState.ISSUED
    assert shelf.take(terms=terms) == []


def test_once_the_call_is_made_again_a_late_session_is_named_and_changes_nothing(shelf, terms):
    batch, (opened,) = call(shelf, terms)
    later(shelf, seconds=61)
    sweep(shelf)
    later(shelf)
    nothing = IssueResult(look_up(shelf, terms), shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(nothing, terms=terms)
    (again,) = shelf.open(shelf.take(terms=terms), terms=terms)
    before = shelf.job("Ona")
    shelf.finish(shelf.got(opened, shelf.session(reference="scan-late")), terms=terms)
    assert shelf.job("Ona") == before
    shelf.finish(shelf.got(again, shelf.session(reference="scan-mine")), terms=terms)
    (line,) = shelf.facts.lines(batch)
    assert (line.reference, line.late) == ("scan-mine", "scan-late")
    assert shelf.facts.counts(batch).accounts["kyc"].late == 1


def test_a_late_session_of_a_cancelled_row_is_named_and_changes_nothing(shelf, terms, decide):
    batch, (opened,) = call(shelf, terms)
    later(shelf, seconds=61)
    sweep(shelf)
    decide.cancel(batch, now=shelf.clock())
    shelf.finish(shelf.got(opened, shelf.session(reference="scan-late")), terms=terms)
    assert shelf.job("Ona").state is JobState.CANCELLED
    assert shelf.row(Attempt).found == "scan-late"
    assert shelf.rows(SessionRow) == []


@pytest.mark.parametrize("can_be", [True, False])
def test_a_late_receipt_ends_the_doubt_about_a_text(shelf, texts, can_be):
    texts = texts if can_be else shelf.on("sms")
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    letters = shelf.take_letters(channel="sms")
    (opened,) = shelf.handovers.open(texts, letters, repeatable=False, now=shelf.clock())
    later(shelf, seconds=61)
    sweep(shelf)
    assert shelf.job("Ona").state is (JobState.ISSUED if can_be else JobState.HELD)
    shelf.handovers.finish(texts, [InviteResult(opened, shelf.clock(), Done(), reference="SM1")], now=shelf.clock())
    letter = shelf.row(InvitationRow)
    assert (letter.state, letter.reference, letter.in_doubt) == (InvitationState.SENT, "SM1", None)
    assert shelf.job("Ona").state is JobState.INVITED


@pytest.mark.parametrize("can_be", [True, False])
def test_a_stopped_worker_that_wakes_and_has_not_called_ends_the_doubt(shelf, can_be):
    """Its lease is over, so it does not call either: the row goes back, and to nobody's decision."""
    terms = replace(shelf.ruled(credits=5), look_up_after=AFTER if can_be else None)
    _, (opened,) = call(shelf, terms)
    before = opened.job.due_at
    later(shelf, seconds=61)
    sweep(shelf)
    assert shelf.job("Ona").in_doubt is not None
    shelf.finish(IssueResult(opened, shelf.clock(), None), terms=terms)
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.in_doubt, row.reason) == (JobState.WAITING, before, None, "")
    assert shelf.row(Attempt).outcome == "not_sent"
    assert shelf.budgets.all()["kyc"].credits_used == 0


@pytest.mark.parametrize("can_be", [True, False])
def test_a_text_that_a_stopped_worker_has_not_sent_goes_back(shelf, texts, can_be):
    texts = texts if can_be else shelf.on("sms")
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    (opened,) = shelf.handovers.open(texts, shelf.take_letters(channel="sms"), repeatable=False, now=shelf.clock())
    later(shelf, seconds=61)
    sweep(shelf)
    shelf.handovers.finish(texts, [InviteResult(opened, shelf.clock(), None)], now=shelf.clock())
    letter = shelf.row(InvitationRow)
    assert (letter.state, letter.in_doubt) == (InvitationState.WAITING, None)
    assert shelf.job("Ona").state is JobState.ISSUED


def test_a_call_that_was_not_made_changes_nothing_for_who_has_the_row_now(shelf, terms):
    _, (opened,) = call(shelf, terms)
    later(shelf, seconds=61)
    sweep(shelf)
    later(shelf)
    nothing = IssueResult(look_up(shelf, terms), shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(nothing, terms=terms)
    shelf.open(shelf.take(terms=terms), terms=terms)
    shelf.finish(IssueResult(opened, shelf.clock(), None), terms=terms)
    assert shelf.job("Ona").state is JobState.WORKING


# What others decide meanwhile.


def test_a_row_that_was_cancelled_while_it_waited_is_in_doubt_for_a_later_list(shelf, terms, decide):
    batch = drop(shelf, terms)
    later(shelf)
    look = look_up(shelf, terms)  # raises the fence above the call's
    shelf.finish(IssueResult(look, shelf.clock(), LookUp(shelf.clock(), "unknown", "later"), LOST), terms=terms)
    decide.cancel(batch, now=shelf.clock())
    later(shelf)
    again = shelf.add(customer("Ona"))
    assert shelf.job("Ona", batch_id=again).state is JobState.HELD
    assert f"batch {batch}" in shelf.job("Ona", batch_id=again).detail


def test_the_heir_of_a_row_that_was_cancelled_while_it_waited_is_held(shelf, terms, decide):
    batch = drop(shelf, terms)
    heir = shelf.add(customer("Ona"))
    decide.cancel(batch, now=shelf.clock())
    row = shelf.job("Ona", batch_id=heir)
    assert (row.state, row.reason, row.joins) == (JobState.HELD, "unknown", None)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_person_settles_what_is_held_with_what_was_found(shelf, terms, decide, verdict):
    batch = drop(shelf, terms)
    later(shelf)
    found = Strangers(("scan-lost",), "the provider has scan-lost")
    held = IssueResult(look_up(shelf, terms), shelf.clock(), Hold("unknown", found.detail), found=found)
    shelf.finish(held, terms=terms)
    assert decide.at_stake(Which(batch)) == Stake({"kyc": 1}, {})
    decide.resolve(Which(batch), verdict, now=shelf.clock())
    row = shelf.job("Ona")
    if verdict is Verdict.REPEAT:
        (taken,) = shelf.take(terms=terms)
        assert (taken.doubt, row.attempts) == (None, 0)
    else:
        assert row.state is JobState.CANCELLED
        later(shelf)
        assert shelf.job("Ona", batch_id=shelf.add(customer("Ona"))).state is JobState.HELD


def test_a_row_in_doubt_that_no_key_opens_is_looked_up_once_the_key_is_back(shelf, terms, decide):
    batch = drop(shelf, terms)
    shelf.set(Job, state=JobState.HELD, reason="cannot_open", due_at=None)
    decide.resolve(Which(batch), Verdict.REPEAT, now=shelf.clock())
    (taken,) = shelf.take(terms=terms)
    assert taken.doubt is not None


def test_a_session_that_appears_meanwhile_is_used_and_ends_the_doubt(shelf, terms):
    drop(shelf, terms)
    shelf.add(customer("Ona", purpose="other"))
    shelf.issue()
    shelf.set(SessionRow, purpose="onboarding")
    later(shelf)
    assert shelf.take(terms=terms) == []
    row = shelf.job("Ona", purpose="onboarding")
    assert (row.state, row.reason, row.in_doubt) == (JobState.ISSUED, "joined_session", None)


def test_a_retry_leaves_a_row_in_doubt_alone(shelf, terms, decide):
    batch = drop(shelf, terms)
    assert decide.retry(Which(batch), now=shelf.clock()).rows == 0
    assert shelf.job("Ona").in_doubt is not None


def test_a_text_that_waits_for_its_look_up_keeps_its_time_when_another_list_takes_its_session_over(
    shelf, texts, decide
):
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    (opened,) = shelf.handovers.open(texts, shelf.take_letters(channel="sms"), repeatable=False, now=shelf.clock())
    lost = InviteResult(opened, shelf.clock(), LookUp(opened.look_up_at, "unknown", "lost"), LOST)
    shelf.handovers.finish(texts, [lost], now=shelf.clock())
    before = shelf.row(InvitationRow)
    shelf.set(Job, state=JobState.FAILED)  # its other message failed, say
    heir = shelf.add(customer("Ona", channel=Channel.SMS))
    assert shelf.take() == []
    letter = shelf.row(InvitationRow)
    assert (letter.due_at, letter.in_doubt, letter.state) == (before.due_at, before.in_doubt, before.state)
    assert letter.job_id == shelf.job("Ona", batch_id=heir).id


def test_what_waits_to_be_looked_up_is_counted_with_when(shelf, terms):
    batch = drop(shelf, terms, customer("Ona"), customer("Jonas"))
    assert shelf.facts.in_doubt(batch) == InDoubt({"kyc": 2}, 0, shelf.job("Ona").due_at)
    assert shelf.facts.in_doubt(batch + 1) == InDoubt()
