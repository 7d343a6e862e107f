"""A call's result: the attempt is closed, the session and its invitations are added, the job moves on - or nothing."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult, UnknownFlush
from onboarding_worker.core.database.job_ids import job_id
from onboarding_worker.core.database.tables import Attempt, Budget, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Cancel, Hold, Kind, Retry, Snooze
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.core.rules.limits import Limit
from tests.stored.shelf import WEEK, customer


def test_the_attempt_is_written_before_there_is_a_result(shelf):
    shelf.add(customer("Ona"))
    (job,) = shelf.claim()
    shelf.open([job], repeatable=True)
    attempt = shelf.row(Attempt)
    assert (attempt.job_id, attempt.fence, attempt.account, attempt.repeatable) == (job.id, job.fence, "kyc", True)
    assert (attempt.opened_at, attempt.closed_at, attempt.outcome) == (shelf.clock(), None, None)


def test_a_session_comes_with_its_invitation_and_the_job_moves_on(shelf):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    session = shelf.session(references={"scanRef": "s-1"}, vendor="onfido", expiry_source=ExpirySource.FALLBACK)
    shelf.clock.advance(milliseconds=30)
    assert shelf.finish(shelf.got(opened, session)) == {"email"}
    kept, invitation, job = shelf.row(SessionRow), shelf.row(InvitationRow), shelf.job("Ona")
    assert (kept.customer_id, kept.purpose, kept.job_id, kept.account) == ("Ona", "onboarding", job.id, "kyc")
    assert (kept.reference, kept.references, kept.vendor) == (session.reference, {"scanRef": "s-1"}, "onfido")
    assert (kept.state, kept.expires_at, kept.expiry_source) == (
        SessionState.WAITING,
        session.expires_at,
        ExpirySource.FALLBACK,
    )
    assert (invitation.session_id, invitation.channel, invitation.kind) == (kept.id, "email", "invitation")
    assert (invitation.batch_id, invitation.job_id, invitation.due_at) == (batch, job.id, shelf.clock())
    assert (job.state, job.session_id, job.lease_until, job.attempts) == (JobState.ISSUED, kept.id, None, 1)
    assert (shelf.row(Attempt).outcome, shelf.row(Attempt).closed_at) == ("done", shelf.clock())


def break_at(shelf, table, error=RuntimeError):
    """The database refuses the next rows of one table."""

    @sa.event.listens_for(shelf.database.engine, "before_cursor_execute")
    def refuse(_connection, _cursor, statement, *_):
        if statement.startswith((f"INSERT INTO {table}", f"COPY {table} ", f"UPDATE {table} SET")):
            raise error(f"no {table} now")

    return lambda: sa.event.remove(shelf.database.engine, "before_cursor_execute", refuse)


@pytest.mark.parametrize("table", ["invitation", "session", "attempt", "job"])
def test_a_failure_in_the_middle_leaves_nothing_of_the_result(shelf, table):
    shelf.add(customer("Ona"), customer("Jonas"))
    results = [shelf.got(opened) for opened in shelf.open(shelf.claim())]
    repair = break_at(shelf, table)
    before = shelf.rows(Job), shelf.rows(Attempt)
    with pytest.raises(RuntimeError, match=table):
        shelf.finish(*results)
    repair()
    assert (shelf.rows(SessionRow), shelf.rows(InvitationRow)) == ([], [])
    assert (shelf.rows(Job), shelf.rows(Attempt)) == before
    shelf.finish(*results)  # the same results again, once the database works
    assert len(shelf.rows(SessionRow)) == 2
    assert {row.state for row in shelf.rows(Job)} == {JobState.ISSUED}


def test_a_failed_claim_leaves_no_lease_and_no_reservation(shelf):
    shelf.add(customer("Ona"))
    repair = break_at(shelf, "budget", lambda text: sa.exc.OperationalError(text, None, Exception()))
    with pytest.raises(UnknownFlush):  # the budget is written last
        shelf.claim(policy=shelf.ruled(limits=(Limit.parse("1/second"),)))
    repair()
    assert (shelf.job("Ona").state, shelf.job("Ona").fence) == (JobState.WAITING, 0)


def test_a_rate_limited_row_waits_and_no_failure_is_counted(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    until = shelf.clock() + timedelta(seconds=30)
    snooze = Snooze(until, "rate_limited", "HTTP 429")
    shelf.finish(shelf.failed(opened, Kind.RATE_LIMITED, snooze, status=429, retry_after=timedelta(seconds=30)))
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.waits, row.attempts) == (JobState.WAITING, until, 1, 0)
    assert (row.reason, row.detail, row.lease_until) == ("rate_limited", "HTTP 429", None)


@pytest.mark.parametrize(
    ("ending", "state", "due"),
    [
        (lambda now: Retry(now + timedelta(seconds=5), "transient", "HTTP 500"), JobState.WAITING, 5),
        (lambda now: Hold("unknown", "HTTP 500"), JobState.HELD, None),
        (lambda now: Cancel("bad_input", "HTTP 500"), JobState.FAILED, None),
    ],
    ids=["retry", "hold", "cancel"],
)
def test_a_failure_is_counted_and_explained(shelf, ending, state, due):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    how = ending(shelf.clock())
    shelf.finish(shelf.failed(opened, Kind.TRANSIENT, how, status=500, code="E-17"))
    row, attempt = shelf.job("Ona"), shelf.row(Attempt)
    assert (row.state, row.attempts, row.waits) == (state, 1, 0)
    assert row.due_at == (shelf.clock() + timedelta(seconds=due) if due else None)
    assert (row.reason, row.detail) == (how.reason, "HTTP 500")
    assert (attempt.outcome, attempt.status, attempt.code) == ("transient", 500, "E-17")


def test_an_explanation_of_any_length_is_kept_as_far_as_there_is_room(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    long = "é" * 5000
    shelf.finish(shelf.failed(opened, Kind.BAD_INPUT, Cancel("bad_input", long), detail=long, code="E" * 500))
    assert shelf.job("Ona").detail == "é" * 400
    attempt = shelf.row(Attempt)
    assert (attempt.detail, attempt.code) == ("é" * 400, "E" * 64)


def test_a_reference_of_any_length_does_not_lose_the_session(shelf):
    shelf.add(customer("Ona"))
    shelf.issue(reference="r" * 300, vendor="v" * 300, references={"companyId": "c" * 300})
    session = shelf.row(SessionRow)
    assert (session.reference, session.vendor, session.company_id) == ("r" * 100, "v" * 64, "c" * 100)


def test_a_late_session_is_named_as_far_as_there_is_room(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.set(Job, fence=opened.fence + 1)
    shelf.finish(shelf.got(opened, shelf.session(reference="r" * 300)))
    assert (shelf.row(Attempt).outcome, shelf.row(Attempt).found) == ("late", "r" * 100)


def test_a_call_that_was_not_made_is_released_and_not_counted(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(CallResult(opened, shelf.clock(), None))
    row, attempt = shelf.job("Ona"), shelf.row(Attempt)
    assert (row.state, row.due_at, row.attempts, row.waits) == (JobState.WAITING, shelf.clock(), 0, 0)
    assert attempt.outcome == "not_sent"


@pytest.mark.parametrize(
    ("channel", "channels"),
    [(Channel.EMAIL, {"email"}), (Channel.SMS, {"sms"}), (Channel.BOTH, {"email", "sms"}), (Channel.NONE, set())],
)
def test_each_channel_gets_one_invitation(shelf, channel, channels):
    shelf.add(customer("Ona", channel=channel))
    (opened,) = shelf.open(shelf.claim())
    assert shelf.finish(shelf.got(opened)) == channels
    assert {row.channel for row in shelf.rows(InvitationRow)} == channels
    assert shelf.job("Ona").state is JobState.ISSUED


@pytest.mark.parametrize(
    ("channel", "left"), [(Channel.SMS, set()), (Channel.BOTH, {"email"}), (Channel.EMAIL, {"email"})]
)
def test_where_the_provider_has_texted_the_link_no_second_text_is_sent(shelf, channel, left):
    shelf.add(customer("Ona", channel=channel))
    (opened,) = shelf.open(shelf.claim())
    assert shelf.finish(shelf.got(opened, shelf.session(sms_sent=True))) == left
    texts = [row for row in shelf.rows(InvitationRow) if row.channel == "sms"]
    assert {(row.state, row.reason, row.sent_at) for row in texts} <= {
        (InvitationState.SENT, "sent_by_provider", shelf.clock())
    }
    assert bool(texts) == (channel is not Channel.EMAIL)
    assert shelf.job("Ona").state is (JobState.INVITED if texts else JobState.ISSUED)
    assert shelf.claim_messages(channel="sms") == []
    assert {message.customer.customer_id for message in shelf.claim_messages()} == ({"Ona"} if left else set())


def row_of(shelf, session_id, **changes):
    kept = shelf.rows(SessionRow)[0]._mapping
    return {**kept, "id": session_id, "token_digest": None, **changes}


@pytest.mark.parametrize("state", [SessionState.WAITING, SessionState.STARTED])
def test_the_database_itself_refuses_a_second_live_session(shelf, state):
    shelf.add(customer("Ona"))
    shelf.issue()
    second = row_of(shelf, uuid.uuid4(), state=state)
    with pytest.raises(sa.exc.IntegrityError), shelf.database.write() as connection:
        connection.execute(sa.insert(SessionRow), [second])
    # a session for another purpose and an ended session are accepted
    with shelf.database.write() as connection:
        connection.execute(
            sa.insert(SessionRow),
            [row_of(shelf, uuid.uuid4(), purpose="renewal"), row_of(shelf, uuid.uuid4(), state=SessionState.EXPIRED)],
        )


def test_the_database_itself_refuses_a_second_leading_job(shelf):
    batch = shelf.add(customer("Ona"))
    known = dict(shelf.job("Ona")._mapping)
    for changes, refused in (
        ({"row": 3}, True),
        ({"row": 3, "state": JobState.HELD}, True),
        ({"row": 3, "purpose": "renewal"}, False),
        ({"row": 4, "state": JobState.FAILED}, False),
    ):
        with shelf.database.write() as connection:
            savepoint = connection.begin_nested()
            try:
                connection.execute(sa.insert(Job), [known | changes | {"id": job_id(batch, changes["row"])}])
            except sa.exc.IntegrityError:
                savepoint.rollback()
                assert refused, changes
            else:
                assert not refused, changes


def test_the_database_itself_refuses_a_second_invitation_for_a_session_channel_and_kind(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    known = shelf.row(InvitationRow)._mapping
    with pytest.raises(sa.exc.IntegrityError), shelf.database.write() as connection:
        connection.execute(sa.insert(InvitationRow), [{**known, "id": uuid.uuid4()}])


def test_a_second_session_next_to_a_live_one_holds_the_job_and_both_references_are_kept(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    # meanwhile another session of this customer was created (for example by an operator's repair)
    shelf.add(customer("Jonas"))
    shelf.issue(reference="scan-first")
    shelf.set(SessionRow, customer_id="Ona")
    shelf.finish(shelf.got(opened, shelf.session(reference="scan-second")))
    row = shelf.job("Ona")
    assert (row.state, row.reason) == (JobState.HELD, "second_session")
    assert "scan-second" in row.detail
    assert shelf.row(SessionRow).reference == "scan-first"
    assert [invitation.job_id for invitation in shelf.rows(InvitationRow)] == [shelf.job("Jonas").id]


def test_an_expired_session_makes_room_for_the_next(shelf):
    shelf.add(customer("Ona"))
    shelf.issue(lifetime=timedelta(minutes=1))
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock())
    shelf.clock.advance(minutes=2)
    shelf.issue()
    old, new = shelf.rows(SessionRow)
    assert (old.state, new.state, new.replaces) == (SessionState.EXPIRED, SessionState.WAITING, old.id)
    assert shelf.job("Ona").reissues == 1


# Credits: with a cap of N, call N+1 is never written down, so it is never made.


def used(shelf):
    row = shelf.row(Budget, name="kyc")
    return row.credits_used, row.stopped_at, row.stop_reason


def test_with_a_cap_of_n_call_n_plus_one_is_never_opened(shelf):
    capped = shelf.ruled(credits=3)
    shelf.add(*(customer(f"C{number}") for number in range(5)))
    jobs = shelf.claim()  # claimed before the cap was set
    opened = shelf.open(jobs, policy=capped)
    assert len(opened) == len(shelf.rows(Attempt)) == 3
    assert used(shelf) == (3, shelf.clock(), "the cap of 3 credits is used up")
    shelf.jobs.release(shelf.policy, jobs[3:], now=shelf.clock())
    assert shelf.claim(policy=capped) == []
    assert shelf.open(jobs[3:], policy=capped) == []
    assert len(shelf.rows(Attempt)) == 3


def test_a_cap_that_is_set_later_covers_what_was_bought_before(shelf):
    shelf.add(*(customer(f"C{number}") for number in range(5)))
    shelf.open(shelf.claim(most=3))
    assert used(shelf) == (3, None, "")
    capped = shelf.ruled(credits=4)
    assert len(shelf.open(shelf.claim(), policy=capped)) == 1


@pytest.mark.parametrize(("cap", "stopped"), [(None, False), (3, False), (2, True), (1, True)])
def test_a_stop_at_the_cap_ends_when_the_cap_is_raised_or_taken_out(shelf, cap, stopped):
    capped = shelf.ruled(credits=2)
    shelf.add(customer("Ona"), customer("Jonas"), customer("Rūta"))
    shelf.issue(policy=capped)
    assert shelf.claim(policy=capped) == []
    shelf.budgets.lift_stops_at_caps([shelf.ruled(credits=cap).rule])
    assert (used(shelf)[1] is not None) is stopped


def test_raising_the_cap_ends_no_stop_for_another_reason(shelf):
    shelf.set(Budget, Budget.name == "kyc", stopped_at=shelf.clock(), stop_reason="HTTP 401")
    shelf.budgets.lift_stops_at_caps([shelf.ruled(credits=9).rule])
    assert used(shelf)[2] == "HTTP 401"


@pytest.mark.both_databases
def test_an_account_whose_cap_ends_with_its_rows_is_not_stopped(shelf):
    capped = shelf.ruled(credits=2)
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue(policy=capped)
    assert shelf.claim(policy=capped) == []
    assert used(shelf) == (2, None, "")


def test_an_account_whose_cap_ends_before_its_rows_stops_with_the_reason(shelf):
    capped = shelf.ruled(credits=2)
    shelf.add(customer("Ona"), customer("Jonas"), customer("Rūta"))
    shelf.issue(policy=capped)
    assert shelf.claim(policy=capped) == []
    assert used(shelf) == (2, shelf.clock(), "the cap of 2 credits is used up")
    assert shelf.job("Rūta").state is JobState.WAITING


FREE = [Kind.RATE_LIMITED, Kind.BAD_INPUT, Kind.CONFLICT, Kind.AUTH, Kind.OUT_OF_CREDIT, Kind.UNCLEAR]


@pytest.mark.parametrize("cap", [5, None])
@pytest.mark.parametrize("kind", Kind)
def test_only_a_call_that_the_provider_refused_refunds_its_credit(shelf, kind, cap):
    capped = shelf.ruled(credits=cap)
    shelf.add(customer("Ona"), customer("Jonas"))
    opened = shelf.open(shelf.claim(), policy=capped)
    shelf.finish(*(shelf.failed(item, kind, Hold("unknown", "")) for item in opened), policy=capped)
    assert used(shelf)[0] == (0 if kind in FREE else 2)


def test_a_call_that_was_not_made_refunds_its_credit(shelf):
    capped = shelf.ruled(credits=5)
    shelf.add(customer("Ona"), customer("Jonas"))
    ona, jonas = shelf.open(shelf.claim(), policy=capped)
    shelf.finish(CallResult(ona, shelf.clock(), None), shelf.got(jonas), policy=capped)
    assert used(shelf)[0] == 1


def test_a_credit_that_comes_back_ends_the_stop_that_its_lack_made(shelf):
    capped = shelf.ruled(credits=1)
    shelf.add(customer("Ona"), customer("Jonas"))
    (ona,) = shelf.open(shelf.claim(most=1), policy=capped)
    assert shelf.claim(policy=capped) == []
    assert used(shelf)[1] is not None
    shelf.finish(shelf.failed(ona, Kind.BAD_INPUT, Cancel("bad_input", "")), policy=capped)
    assert used(shelf) == (0, None, "")
    assert len(shelf.open(shelf.claim(policy=capped), policy=capped)) == 1


def test_a_credit_that_comes_back_does_not_end_a_stop_for_another_reason(shelf):
    capped = shelf.ruled(credits=5)
    shelf.add(customer("Ona"), customer("Jonas"))
    ona, jonas = shelf.open(shelf.claim(), policy=capped)
    snooze = Snooze(shelf.clock(), "auth", "HTTP 401")
    shelf.finish(shelf.failed(ona, Kind.AUTH, snooze, detail="HTTP 401"), policy=capped)
    shelf.finish(shelf.failed(jonas, Kind.BAD_INPUT, Cancel("bad_input", "")), policy=capped)
    assert used(shelf) == (0, shelf.clock(), "HTTP 401 (the credentials are refused)")


def test_a_raised_cap_lets_a_resumed_account_go_on(shelf):
    shelf.add(*(customer(f"C{number}") for number in range(3)))
    shelf.issue(policy=shelf.ruled(credits=1))
    shelf.claim(policy=shelf.ruled(credits=1))
    assert shelf.budgets.resume("kyc")
    assert shelf.claim(policy=shelf.ruled(credits=1)) == []
    assert used(shelf)[1] is not None  # the cap is unchanged: the account stops again
    assert shelf.budgets.resume("kyc")
    assert len(shelf.claim(policy=shelf.ruled(credits=3))) == 1  # one goes first


# Between two flushes, another worker may have paused or stopped the account.


def test_a_pause_that_came_since_the_last_flush_is_seen_by_the_next_one(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    (first,) = shelf.flush(most=1).opened
    shelf.set(Budget, Budget.name == "kyc", blocked_until=shelf.clock() + timedelta(seconds=1))
    assert shelf.flush(shelf.got(first)).opened == []
    assert shelf.row(Attempt).outcome == "done"  # the result is written
    shelf.clock.advance(seconds=1)
    assert len(shelf.flush().opened) == 1


def test_a_stop_that_came_since_the_last_flush_is_seen_by_the_next_one(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    (first,) = shelf.flush(most=1).opened
    shelf.set(Budget, Budget.name == "kyc", stopped_at=shelf.clock())
    assert shelf.flush(shelf.got(first)).opened == []
    assert shelf.row(Attempt).outcome == "done"


def test_the_lesson_of_a_call_is_in_the_budget_with_its_result(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    ona, jonas = shelf.open(shelf.claim())
    limited = shelf.failed(
        ona,
        Kind.RATE_LIMITED,
        Snooze(shelf.clock(), "rate_limited", "HTTP 429"),
        detail="HTTP 429",
        retry_after=timedelta(seconds=9),
    )
    shelf.finish(limited)
    budget = shelf.budgets.all()["kyc"]
    assert (budget.blocked_until, budget.pauses) == (shelf.clock() + timedelta(seconds=9), 1)
    refused = Snooze(shelf.clock(), "auth", "HTTP 401")
    shelf.finish(shelf.failed(jonas, Kind.AUTH, refused, detail="HTTP 401"))
    assert shelf.budgets.all()["kyc"].stop_reason == "HTTP 401 (the credentials are refused)"
    assert shelf.budgets.resume("kyc")
    assert not shelf.budgets.resume("kyc")
    assert shelf.budgets.all()["kyc"].stopped_at is None


def test_a_new_session_that_is_allowed_at_once_replaces_the_live_one(shelf):
    at_once = replace(shelf.policy, reissue_at=lambda expires_at: expires_at - WEEK)
    shelf.add(customer("Ona"))
    shelf.issue(lifetime=timedelta(hours=1))  # below the floor of twelve hours
    shelf.clock.advance(seconds=1)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock())
    shelf.issue(policy=at_once)
    old, new = shelf.rows(SessionRow)
    assert (old.state, new.state, new.replaces) == (SessionState.SUPERSEDED, SessionState.WAITING, old.id)


def test_a_row_that_fails_while_the_breaker_opens_has_its_own_attempt_counted(shelf):
    shelf.add(*(customer(f"C{number}") for number in range(6)))
    opened = shelf.open(shelf.claim(most=5))
    again = Retry(shelf.clock() + timedelta(seconds=1), "transient", "HTTP 500")
    shelf.finish(*(shelf.failed(item, Kind.TRANSIENT, again) for item in opened))
    state = shelf.budgets.all()["kyc"]
    assert (state.failures, state.opened_at) == (5, shelf.clock())
    assert state.pause_reason == "5 calls in a row failed, the last with HTTP 500"
    assert shelf.claim() == []
    assert [row.attempts for row in shelf.rows(Job)] == [1] * 5 + [0]
