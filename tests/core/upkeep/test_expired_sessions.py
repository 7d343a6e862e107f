"""Sessions that ended unused: checked when due, replaced within the caps, and never for a customer who is done."""

from dataclasses import replace
from datetime import time, timedelta

import pytest

from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, Job, ReissueCount, SessionRow
from onboarding_worker.core.model.channels import CHANNELS, SuppressionReason
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Hold, Kind
from onboarding_worker.core.model.states import BATCH, EVENT, InvitationState, JobState, SessionState
from onboarding_worker.core.rows.own_links import StableLinks
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.core.rules.contact import Caps, ContactPolicy, Wording
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.core.upkeep import expired_sessions as expiring
from onboarding_worker.core.upkeep.expired_sessions import ExpiryCounts, ExpiryPolicy, check
from onboarding_worker.lists.decisions.store.decisions import Decisions, Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.settings.policies import fallbacks
from tests.stored.shelf import WEEK, changed, customer

DAY = timedelta(days=1)
TERMS = ExpiryPolicy(
    ContactPolicy(Caps(3, 100), DAY, per_day=10_000), {"kyc": WEEK}, {"kyc": lambda expires_at: expires_at}
)


@pytest.fixture
def scan(shelf, keyring):

    def look(**changes) -> ExpiryCounts:
        return check(shelf.database, keyring, changed(TERMS, **changes), now=shelf.clock())

    return look


def invited(shelf, *customers, lifetime=WEEK, **how):
    """Customers who were sent their links."""
    batch = shelf.add(*customers or [customer("Ona")], **how)
    shelf.issue(lifetime=lifetime)
    for channel in ("email", "sms"):
        shelf.send(channel=channel)
    return batch


def let_expire(shelf, after=WEEK + SETTLES):
    shelf.clock.now += after


def session(shelf, state):
    return shelf.row(SessionRow, state=state)


def test_a_session_that_ended_unused_is_replaced_and_the_customer_invited_again(shelf, scan):
    invited(shelf)
    let_expire(shelf)
    assert scan() == ExpiryCounts(reissued=1)
    job, old = shelf.job("Ona"), shelf.row(SessionRow)
    assert (job.state, job.due_at, job.reason, job.attempts) == (JobState.WAITING, shelf.clock(), "session_expired", 0)
    assert (old.state, old.check_at, job.session_id) == (SessionState.EXPIRED, None, old.id)

    (claimed,) = shelf.issue()
    assert claimed.session_id == old.id
    new = session(shelf, SessionState.WAITING)
    assert (new.replaces, new.check_at) == (old.id, new.expires_at + SETTLES)
    (message,) = shelf.send()
    assert message.opening.link != "https://verify.test/token-0001"
    assert message.wording is Wording.NEW_LINK
    assert (shelf.job("Ona").state, shelf.job("Ona").reissues) == (JobState.INVITED, 1)
    assert scan() == ExpiryCounts()


@pytest.mark.parametrize("ending", [InvitationState.BOUNCED, InvitationState.HELD, InvitationState.FAILED])
def test_a_customer_whom_no_earlier_link_reached_is_invited_as_if_for_the_first_time(shelf, scan, ending):
    invited(shelf)
    shelf.set(InvitationRow, state=ending)
    shelf.set(SessionRow, state=SessionState.EXPIRED)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock())
    shelf.issue()
    (message,) = shelf.send()
    assert message.wording is Wording.INVITATION


def test_another_purpose_has_links_of_its_own(shelf):
    invited(shelf)
    invited(shelf, customer("Ona", purpose="renewal"))
    assert [row.new_link for row in shelf.rows(InvitationRow)] == [False, False]


def test_no_session_is_checked_before_its_time(shelf, scan):
    invited(shelf)
    let_expire(shelf, WEEK + SETTLES - timedelta(seconds=1))
    assert scan() == ExpiryCounts()
    assert shelf.job("Ona").state is JobState.INVITED


def test_a_session_that_its_provider_calls_expired_is_replaced_at_once(shelf, scan):
    invited(shelf)
    let_expire(shelf, WEEK)
    shelf.set(SessionRow, state=SessionState.EXPIRED, check_at=shelf.clock())
    assert scan() == ExpiryCounts(reissued=1)


def test_a_session_that_its_provider_ends_days_early_is_replaced_at_once_the_first_time(shelf, scan):
    """Until its end the account is not asked for another: but this one has ended."""
    invited(shelf)
    let_expire(shelf, timedelta(hours=1))
    shelf.set(SessionRow, state=SessionState.EXPIRED, check_at=shelf.clock())
    assert scan() == ExpiryCounts(reissued=1)
    assert shelf.job("Ona").due_at == shelf.clock()


def test_with_an_account_that_is_configured_no_more_its_sessions_end_is_waited_for(shelf, scan):
    invited(shelf)
    let_expire(shelf)
    assert scan(lifetimes={}, reissue_at={}) == ExpiryCounts(reissued=1)


def test_two_sessions_of_one_customer_are_a_day_apart(shelf, scan):
    invited(shelf, lifetime=timedelta(hours=13))
    begun = shelf.clock()
    let_expire(shelf, timedelta(hours=13) + SETTLES)
    scan()
    assert shelf.job("Ona").due_at == begun + DAY


def test_a_new_session_is_asked_for_when_its_message_may_leave(shelf, scan):
    invited(shelf, customer("Ona", timezone="Europe/Vilnius"))
    let_expire(shelf)
    hours = Hours({"email": QuietHours(time(14), time(16))})  # it is noon and a quarter, UTC
    scan(hours=hours)
    assert shelf.job("Ona").due_at == shelf.clock.now.replace(hour=14, minute=0)


@pytest.mark.parametrize(
    ("caps", "reason"), [(Caps(1, 100), "reissues_spent"), (Caps(3, 2), "messages_spent")], ids=["sessions", "messages"]
)
def test_once_a_cap_is_used_up_the_customer_has_lapsed(shelf, scan, caps, reason):
    invited(shelf)
    let_expire(shelf)
    scan(caps=caps)
    shelf.issue()
    shelf.send()
    let_expire(shelf)
    assert scan(caps=caps) == ExpiryCounts(lapsed=1)
    job = shelf.job("Ona")
    assert (job.state, job.reason, job.due_at) == (JobState.LAPSED, reason, None)
    assert "for the customer" in job.detail
    assert {row.state for row in shelf.rows(SessionRow)} == {SessionState.EXPIRED}


def test_the_sessions_of_other_lists_count_and_those_for_other_purposes_do_not(shelf, scan):
    batch = invited(shelf)
    shelf.add(customer("Ona", purpose="renewal"))
    shelf.issue()
    let_expire(shelf)
    scan()
    shelf.issue()
    shelf.send()
    Decisions(shelf.database).cancel(batch, now=shelf.clock())
    let_expire(shelf)
    invited(shelf, customer("Ona"))
    assert len(shelf.rows(SessionRow, purpose="onboarding")) == 3
    let_expire(shelf)
    assert scan(caps=Caps(2, 100)).lapsed == 1


def test_rows_of_other_lists_that_joined_follow(shelf, scan):
    invited(shelf)
    second = shelf.add(customer("Ona"))
    let_expire(shelf)
    scan(caps=Caps(0, 100))
    assert [line.state for line in shelf.facts.lines(second)] == ["lapsed"]


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.LAPSED, JobState.FAILED, JobState.CANCELLED])
def test_a_customer_whose_job_has_ended_gets_no_other_session(shelf, scan, state):
    invited(shelf)
    shelf.set(Job, state=state)
    let_expire(shelf)
    assert scan() == ExpiryCounts(unchanged=1)
    assert (shelf.job("Ona").state, shelf.row(SessionRow).check_at) == (state, None)
    assert scan() == ExpiryCounts()


def test_an_erased_customer_gets_no_other_session(shelf, scan):
    invited(shelf)
    shelf.set(CustomerRow, encrypted=None)
    let_expire(shelf)
    assert scan() == ExpiryCounts(unchanged=1)
    assert shelf.job("Ona").state is JobState.INVITED


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_the_session_of_a_job_that_has_ended_counts_as_expired_once_its_link_does(shelf, scan, state):
    invited(shelf)
    shelf.set(Job, state=state, due_at=None)
    let_expire(shelf)
    assert scan() == ExpiryCounts(unchanged=1)
    row = shelf.row(SessionRow)
    assert (row.state, row.check_at) == (SessionState.EXPIRED, None)
    assert shelf.job("Ona").state is state


def test_a_customer_who_is_being_reviewed_is_left_alone_though_the_link_has_ended(shelf, scan):
    invited(shelf)
    shelf.set(SessionRow, result="review", state=SessionState.STARTED)
    let_expire(shelf)
    assert scan() == ExpiryCounts(unchanged=1)
    assert shelf.job("Ona").state is JobState.INVITED


def test_during_a_review_of_the_session_before_no_third_one_is_asked_for(shelf, scan):
    invited(shelf)
    let_expire(shelf)
    scan()
    shelf.clock.now += DAY
    shelf.issue()
    shelf.send()
    before = session(shelf, SessionState.EXPIRED)
    shelf.set(SessionRow, SessionRow.id == before.id, result="review")
    let_expire(shelf)
    assert scan() == ExpiryCounts(unchanged=1)
    assert shelf.job("Ona").state is JobState.INVITED
    shelf.set(SessionRow, SessionRow.id == before.id, result="")  # it ended without a verdict
    assert scan() == ExpiryCounts()
    shelf.clock.now += timedelta(hours=1)
    assert scan() == ExpiryCounts(reissued=1)


def test_a_session_that_was_replaced_meanwhile_decides_nothing(shelf, scan):
    invited(shelf)
    let_expire(shelf)
    scan()
    old = shelf.row(SessionRow)
    shelf.issue()
    shelf.send()
    shelf.set(SessionRow, SessionRow.id == old.id, check_at=shelf.clock())
    assert scan() == ExpiryCounts(unchanged=1)
    assert shelf.job("Ona").state is JobState.INVITED


def test_links_that_are_only_fetched_are_never_checked(shelf, scan):
    shelf.add(customer("Ona", channel=Channel.NONE))
    shelf.issue()
    assert shelf.row(SessionRow).check_at is None
    # Until a list asks for a message.
    shelf.set(Job, state=JobState.CANCELLED)
    shelf.add(customer("Ona"))
    shelf.claim()
    shelf.send()
    let_expire(shelf)
    assert scan() == ExpiryCounts(reissued=1)


def test_a_link_that_ended_before_its_message_left_is_replaced_in_its_turn_alone(shelf, scan):
    shelf.add(customer("Ona"))
    shelf.issue()
    let_expire(shelf)
    assert scan() == ExpiryCounts(unchanged=1)
    assert shelf.job("Ona").state is JobState.ISSUED


@pytest.mark.parametrize("made", [False, True])
def test_a_row_whose_message_leaves_with_our_own_link_after_the_sessions_end_lapses_with_the_link(
    shelf, scan, keyring, made
):
    links = StableLinks("https://verify.test", timedelta(days=60))
    shelf.message_policy = replace(shelf.message_policy, stable=links)
    shelf.add(customer("Ona"))
    if made:  # by an earlier row of hers
        with shelf.database.write() as connection:
            links.ensure(connection, keyring, [("Ona", "onboarding")], now=shelf.clock() - timedelta(days=60))
    shelf.issue()
    let_expire(shelf)
    assert scan(stable=True) == ExpiryCounts(unchanged=1)
    assert shelf.row(SessionRow).check_at == shelf.clock() + DAY
    assert len(shelf.send()) == 1
    for after in (DAY, links.valid):
        let_expire(shelf, after)
        scan(stable=True)
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.LAPSED, "link_ended")


def test_a_row_without_a_message_is_not_looked_at_again_for_it(shelf, scan):
    shelf.message_policy = replace(shelf.message_policy, stable=StableLinks("https://verify.test", timedelta(days=60)))
    shelf.add(customer("Ona", channel=Channel.NONE))
    shelf.issue()
    shelf.set(SessionRow, check_at=shelf.clock())  # as after a review
    scan(stable=True)
    assert (shelf.job("Ona").state, shelf.row(SessionRow).check_at) == (JobState.ISSUED, None)


def test_a_session_whose_message_was_held_is_checked_again_after_an_operators_decision(shelf, scan):
    batch = shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.send(channel="email")
    shelf.hand_over(shelf.claim_messages(channel="sms"), Hold(Kind.UNKNOWN, "no answer"), channel="sms")
    let_expire(shelf)
    assert scan() == ExpiryCounts(unchanged=1)
    assert (shelf.job("Ona").state, shelf.row(SessionRow).check_at) == (JobState.HELD, None)
    Decisions(shelf.database).resolve(Which(batch), Verdict.ABANDON, now=shelf.clock())
    assert shelf.job("Ona").state is JobState.INVITED
    assert scan() == ExpiryCounts(reissued=1)


def test_the_cap_of_the_day_bounds_what_an_account_reissues_and_the_rest_waits_for_tomorrow(shelf, scan):
    invited(shelf, *(customer(f"C{number}") for number in range(5)))
    let_expire(shelf)
    assert scan(per_day=3) == ExpiryCounts(reissued=3, postponed=2)
    assert [row.count for row in shelf.rows(ReissueCount)] == [3]
    shelf.clock.advance(hours=1)
    assert scan(per_day=3) == ExpiryCounts()
    shelf.clock.now = shelf.clock.now.replace(hour=0, minute=0) + DAY
    assert scan(per_day=3) == ExpiryCounts(reissued=2)
    assert [row.count for row in shelf.rows(ReissueCount)] == [3, 2]


def test_an_events_second_link_does_not_go_before_new_sign_ups(shelf, scan):
    invited(shelf, priority=EVENT)
    let_expire(shelf)
    scan()
    assert shelf.job("Ona").priority == BATCH


def test_what_a_paused_batch_is_due_waits_with_it(shelf, scan):
    batch = invited(shelf)
    Decisions(shelf.database).pause(batch, by="ann", now=shelf.clock())
    let_expire(shelf)
    assert scan() == ExpiryCounts(reissued=1)
    assert shelf.claim() == []
    Decisions(shelf.database).resume(batch, now=shelf.clock())
    assert len(shelf.claim()) == 1


def test_more_than_a_chunk_is_checked_chunk_by_chunk(shelf, scan, monkeypatch):
    monkeypatch.setattr(expiring, "CHUNK", 2)
    invited(shelf, *(customer(f"C{number}") for number in range(5)))
    let_expire(shelf)
    assert scan() == ExpiryCounts(reissued=5)


def test_a_check_that_breaks_off_changes_nothing(shelf, scan, monkeypatch):
    invited(shelf)
    let_expire(shelf)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(expiring, "happened", killed)
        with pytest.raises(KeyboardInterrupt):
            scan()
    assert (shelf.job("Ona").state, shelf.rows(ReissueCount)) == (JobState.INVITED, [])
    assert scan() == ExpiryCounts(reissued=1)


@pytest.mark.both_databases
def test_two_sweeps_in_parallel_replace_each_session_once(shelf, scan, in_parallel):
    invited(shelf, *(customer(f"C{number}") for number in range(20)))
    let_expire(shelf)
    counts = in_parallel(scan, times=4)
    assert sum(one.reissued for one in counts) == 20
    assert [row.count for row in shelf.rows(ReissueCount)] == [20]


# Suppressed addresses.


def keep_from(shelf, channel, address, reason):
    with shelf.database.write() as connection:
        suppress(connection, shelf.keyring, channel, address, reason, "somebody", now=shelf.clock())


@pytest.mark.parametrize(
    ("channel", "reasons", "fallback", "expected"),
    [
        (Channel.EMAIL, {"email": SuppressionReason.MANUAL}, None, ExpiryCounts(lapsed=1)),
        (Channel.BOTH, {"email": SuppressionReason.MANUAL}, None, ExpiryCounts(reissued=1)),
        (
            Channel.BOTH,
            {"email": SuppressionReason.BOUNCE, "sms": SuppressionReason.STOP},
            None,
            ExpiryCounts(lapsed=1),
        ),
        (Channel.EMAIL, {"sms": SuppressionReason.STOP}, None, ExpiryCounts(reissued=1)),
        (Channel.EMAIL, {"email": SuppressionReason.BOUNCE}, "sms", ExpiryCounts(reissued=1)),
        (Channel.EMAIL, {"email": SuppressionReason.COMPLAINT}, "sms", ExpiryCounts(lapsed=1)),
        (
            Channel.EMAIL,
            {"email": SuppressionReason.BOUNCE, "sms": SuppressionReason.STOP},
            "sms",
            ExpiryCounts(lapsed=1),
        ),
    ],
)
def test_a_customer_who_cannot_be_written_to_gets_no_other_session(shelf, scan, channel, reasons, fallback, expected):
    invited(shelf, customer("Ona", channel=channel))
    for one, reason in reasons.items():
        keep_from(shelf, one, {"email": "ona@example.org", "sms": "+37060000001"}[one], reason)
    let_expire(shelf)
    assert scan(fallbacks=fallbacks(fallback, CHANNELS)) == expected
    assert shelf.job("Ona").reason == ("suppressed" if expected.lapsed else "session_expired")


@pytest.mark.postgresql_alone
def test_the_cost_of_a_check_depends_on_the_due_sessions_not_on_all_sessions(shelf):
    invited(shelf, *(customer(f"C{number}") for number in range(10)))
    let_expire(shelf)
    columns = [column.name for column in SessionRow.__table__.columns]
    changed = {
        "id": "gen_random_uuid()",
        "state": "'expired'",
        "check_at": "NULL",
        "reference": "'over-' || number",
        "token_digest": "NULL",
    }
    copies = ", ".join(changed.get(name, f'"{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    with shelf.database.write() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO session ({names}) SELECT {copies}"  # noqa: S608 -- words of ours
            " FROM (SELECT * FROM session LIMIT 1) one, generate_series(1, 20000) number"
        )
    with shelf.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Else the due sessions lie where earlier tests, and changes of these, left room: in a page each. And the index
        # entries of deleted rows are read too.
        connection.exec_driver_sql("VACUUM (FULL, ANALYZE) session")
    with shelf.database.read() as connection:
        query = str(expiring._DUE.compile(connection.engine, compile_kwargs={"render_postcompile": True}))
        explained = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", {"now": shelf.clock(), "most": 500}
        ).scalar_one()
    plan = explained[0]["Plan"]
    assert "ix_session_check" in str(plan)
    assert plan["Actual Rows"] == 10
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 20
