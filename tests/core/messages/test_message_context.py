"""Invitations: claimed with their whole context, sent once, never with a stale link."""

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, Budget, InvitationRow, Job, SessionRow
from onboarding_worker.core.messages.claim_invitations import has_stale_link
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Cancel, Done, Hold, Kind, Problem, Retry, Snooze
from onboarding_worker.core.model.states import BATCH, EVENT, InvitationState, JobState, SessionState
from onboarding_worker.core.rules.contact import Caps, Wording
from onboarding_worker.core.rules.limits import Limit
from tests.stored.shelf import changed, customer


def issued(shelf, *customers, **session):
    batch = shelf.add(*customers or [customer("Ona")])
    shelf.issue(**session)
    return batch


def test_a_claimed_invitation_holds_its_whole_context_and_shows_none_of_it(shelf):
    batch = issued(shelf, customer("Ona", template="gold", brand="nova", timezone="Europe/Vilnius"))
    (message,) = shelf.claim_messages()
    assert (message.batch_id, message.leased.account, message.kind) == (batch, "kyc", "invitation")
    assert message.customer.person.email == "ona@example.org"
    assert (message.customer.locale, message.customer.timezone, message.customer.template) == (
        "lt",
        "Europe/Vilnius",
        "gold",
    )
    assert message.customer.brand == "nova"
    assert message.opening.link == "https://verify.test/token-0001"
    assert (message.expires_at, message.floor) == (shelf.clock() + timedelta(days=7), timedelta(hours=12))
    assert "token" not in repr(message)
    assert "ona@" not in repr(message)


def test_a_sent_invitation_makes_its_job_invited(shelf):
    issued(shelf)
    shelf.send()
    row = shelf.row(InvitationRow)
    assert (row.state, row.sent_at, row.attempts, row.lease_until) == (InvitationState.SENT, shelf.clock(), 1, None)
    assert shelf.job("Ona").state is JobState.INVITED
    assert shelf.claim_messages() == []


def test_the_hand_over_is_written_before_it_is_made_and_closed_after(shelf):
    issued(shelf)
    (message,) = shelf.claim_messages()
    (opened,) = shelf.open_messages([message])
    attempt = shelf.row(Attempt, invitation_id=message.id)
    assert (attempt.account, attempt.closed_at, attempt.fence) == ("email", None, message.fence)
    result = CallResult(opened, shelf.clock(), None)
    shelf.finish_messages(result)
    assert shelf.row(Attempt, invitation_id=message.id).outcome == "not_sent"
    assert (shelf.row(InvitationRow).state, shelf.row(InvitationRow).attempts) == (InvitationState.WAITING, 0)


def test_the_senders_id_of_the_message_is_kept(shelf):
    issued(shelf)
    (opened,) = shelf.open_messages(shelf.claim_messages())
    result = CallResult(opened, shelf.clock(), Done(), reference="queued as 4F8xY2" + "x" * 200)
    shelf.finish_messages(result)
    assert shelf.row(InvitationRow).reference.startswith("queued as 4F8xY2")


@pytest.mark.parametrize(
    ("ending", "state", "counted", "job"),
    [
        (lambda at: Snooze(at, "rate_limited", "450 later"), InvitationState.WAITING, (0, 1), JobState.ISSUED),
        (lambda at: Retry(at, "transient", "450 later"), InvitationState.WAITING, (1, 0), JobState.ISSUED),
        (lambda _: Hold("unknown", "450 later"), InvitationState.HELD, (1, 0), JobState.HELD),
        (lambda _: Cancel("bad_input", "450 later"), InvitationState.FAILED, (1, 0), JobState.FAILED),
    ],
    ids=["snooze", "retry", "hold", "cancel"],
)
def test_each_ending_of_a_hand_over_is_explained(shelf, ending, state, counted, job):
    issued(shelf)
    at = shelf.clock() + timedelta(minutes=5)
    how = ending(at)
    shelf.hand_over(shelf.claim_messages(), how, problem=Problem(Kind.TRANSIENT, "450 later", status=450))
    row = shelf.row(InvitationRow)
    reason = "message_refused" if isinstance(how, Cancel) else how.reason
    assert (row.state, (row.attempts, row.waits), row.reason) == (state, counted, reason)
    assert row.due_at == (at if state is InvitationState.WAITING else None)
    assert shelf.job("Ona").state is job
    if job is not JobState.ISSUED:
        assert (shelf.job("Ona").reason, shelf.job("Ona").detail) == (reason, "450 later")


def test_of_two_channels_one_that_is_out_invites_whatever_becomes_of_the_other(shelf):
    issued(shelf, customer("Ona", channel=Channel.BOTH))
    shelf.send(channel="email")
    assert shelf.job("Ona").state is JobState.INVITED
    shelf.hand_over(shelf.claim_messages(channel="sms"), Cancel("bad_input", "21211"), channel="sms")
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.INVITED, "")


def test_of_two_channels_the_job_waits_for_the_second_when_the_first_has_failed(shelf):
    issued(shelf, customer("Ona", channel=Channel.BOTH))
    shelf.hand_over(shelf.claim_messages(), Cancel("bad_input", "550"))
    assert shelf.job("Ona").state is JobState.ISSUED
    shelf.hand_over(shelf.claim_messages(channel="sms"), Cancel("bad_input", "21211"), channel="sms")
    assert shelf.job("Ona").state is JobState.FAILED


def test_an_events_invitation_goes_before_a_batchs(shelf):
    shelf.add(customer("Second"), priority=BATCH)
    shelf.issue()
    shelf.clock.advance(seconds=1)
    shelf.add(customer("First"), priority=EVENT)
    shelf.issue()
    assert [message.customer.customer_id for message in shelf.claim_messages()] == ["First", "Second"]


def test_invitations_use_slots_of_their_senders_budget(shelf):
    issued(shelf, customer("Ona"), customer("Jonas"))
    rule = replace(shelf.message_policy.rule, limits=(Limit.parse("1/second"),))
    policy = replace(shelf.message_policy, rule=rule)
    shelf.invitations.horizon = timedelta(seconds=5)
    claimed = shelf.invitations.claim(policy, most=10, now=shelf.clock())
    assert [slot - shelf.clock() for slot in claimed.slots] == [timedelta(0), timedelta(seconds=1)]
    assert shelf.row(Budget, name="sender/email").next_at == shelf.clock() + timedelta(seconds=2)


@pytest.mark.parametrize("stop", ["stopped_at", "blocked_until"])
def test_once_a_sender_is_paused_or_stopped_the_next_flush_opens_no_hand_over(shelf, stop):
    issued(shelf, customer("Ona"), customer("Rasa"))
    (first,) = shelf.flush_messages(most=1).opened
    shelf.set(Budget, Budget.name == "sender/email", **{stop: shelf.clock() + timedelta(seconds=5)})

    flushed = shelf.flush_messages(CallResult(first, shelf.clock(), Done()))

    assert flushed.opened == []
    assert [row.outcome for row in shelf.rows(Attempt, account="email")] == ["done"]  # the result is written


def test_what_is_released_is_due_as_before(shelf):
    issued(shelf)
    before = shelf.row(InvitationRow)
    shelf.invitations.release(shelf.message_policy, shelf.claim_messages(), now=shelf.clock())
    after = shelf.row(InvitationRow)
    assert (after.state, after.due_at, after.attempts) == (before.state, before.due_at, 0)


@pytest.mark.parametrize("state", [SessionState.COMPLETED, SessionState.FAILED, SessionState.SUPERSEDED])
def test_the_link_of_a_session_that_has_ended_is_not_sent(shelf, state):
    issued(shelf)
    shelf.set(SessionRow, state=state)
    assert shelf.claim_messages() == []
    row = shelf.row(InvitationRow)
    assert (row.state, row.reason) == (InvitationState.SUPERSEDED, "session_ended")


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.LAPSED])
def test_no_link_is_sent_once_the_job_is_over(shelf, state):
    issued(shelf)
    shelf.set(Job, state=state)
    assert shelf.claim_messages() == []
    assert (shelf.row(InvitationRow).state, shelf.job("Ona").state) == (InvitationState.SUPERSEDED, state)


# Links that are stale when their message is due.


def test_a_link_that_its_provider_has_ended_before_it_left_is_claimed_to_be_replaced(shelf):
    issued(shelf)
    shelf.set(SessionRow, state=SessionState.EXPIRED)
    (message,) = shelf.claim_messages()
    assert message.ended
    # But not for a customer who has a message already.
    shelf.invitations.release(shelf.message_policy, [message], now=shelf.clock())
    shelf.set(Job, state=JobState.INVITED)
    assert shelf.claim_messages() == []


def stale(shelf, *, due_in=timedelta(hours=1), **policy):
    """Each due link is too old when its message is to be sent."""
    shelf.put_off_as_stale(policy=changed(shelf.message_policy, **policy), due_at=shelf.clock() + due_in)


def test_a_stale_invitation_goes_back_for_a_new_session(shelf):
    issued(shelf)
    stale(shelf)
    row, job = shelf.row(InvitationRow), shelf.job("Ona")
    assert (row.state, row.reason) == (InvitationState.SUPERSEDED, "stale_link")
    assert (job.state, job.due_at, job.reason) == (JobState.WAITING, shelf.clock() + timedelta(hours=1), "stale_link")


def test_a_new_session_that_made_sense_long_ago_is_due_now(shelf):
    issued(shelf)
    stale(shelf, due_in=-timedelta(hours=5))
    assert shelf.job("Ona").due_at == shelf.clock()


def test_the_new_session_brings_an_invitation_of_its_own(shelf):
    issued(shelf, lifetime=timedelta(hours=13))
    stale(shelf)
    (old,) = shelf.rows(InvitationRow)
    shelf.clock.advance(hours=14)
    shelf.issue()
    (new,) = shelf.claim_messages()
    assert new.id != old.id
    assert new.opening.link == "https://verify.test/token-0002"
    assert new.wording is Wording.INVITATION  # the old link never left
    assert shelf.job("Ona").reissues == 1


def test_both_channels_of_a_stale_link_wait_for_the_new_one(shelf):
    issued(shelf, customer("Ona", channel=Channel.BOTH))
    stale(shelf)
    assert {row.state for row in shelf.rows(InvitationRow)} == {InvitationState.SUPERSEDED}
    assert shelf.claim_messages(channel="sms") == []


def test_a_customer_who_was_invited_on_another_channel_stays_invited(shelf):
    issued(shelf, customer("Ona", channel=Channel.BOTH))
    shelf.send(channel="sms")
    stale(shelf)
    assert shelf.job("Ona").state is JobState.INVITED


@pytest.mark.both_databases
def test_once_the_cap_on_sessions_is_used_up_the_job_has_lapsed(shelf):
    issued(shelf, lifetime=timedelta(hours=13))
    for _ in range(2):
        stale(shelf, caps=Caps(2, 100))
        shelf.clock.advance(hours=14)
        shelf.issue(lifetime=timedelta(hours=13))
    stale(shelf, caps=Caps(2, 100))
    job = shelf.job("Ona")
    assert (job.state, job.due_at, job.reason) == (JobState.LAPSED, None, "reissues_spent")
    assert "no more sessions are allowed" in job.detail


def test_without_reissues_the_first_stale_link_is_the_last(shelf):
    issued(shelf)
    stale(shelf, caps=Caps(0, 100))
    assert shelf.job("Ona").state is JobState.LAPSED


@pytest.mark.parametrize(
    ("earlier", "its_message", "refused", "wording"),
    [
        ({}, InvitationState.SENT, None, Wording.NEW_LINK),
        ({}, InvitationState.DELIVERED, None, Wording.NEW_LINK),
        ({}, InvitationState.BOUNCED, None, Wording.INVITATION),
        ({"purpose": "another"}, InvitationState.SENT, None, Wording.INVITATION),
        ({"customer_id": "Jonas"}, InvitationState.SENT, None, Wording.INVITATION),
        ({"past": True}, InvitationState.SENT, None, Wording.INVITATION),
        ({}, InvitationState.SENT, "the earlier", Wording.TRY_AGAIN),
        ({}, InvitationState.SENT, "its own", Wording.NEW_LINK),
    ],
)
def test_the_words_of_a_link_are_those_of_what_its_customer_had_before(shelf, earlier, its_message, refused, wording):
    issued(shelf)
    shelf.send()
    before = shelf.row(SessionRow).id
    shelf.add(customer("Jonas", channel=Channel.NONE))
    shelf.set(SessionRow, state=SessionState.EXPIRED, check_at=None, reasons="BLURRED", **earlier)
    shelf.set(InvitationRow, state=its_message)
    shelf.set(Job, Job.customer_id == "Ona", state=JobState.WAITING, due_at=shelf.clock())
    shelf.issue()
    if refused:
        of = Job.session_id if refused == "its own" else before
        shelf.set(Job, Job.customer_id == "Ona", refused_session=of)
    (message,) = shelf.claim_messages()
    assert message.wording is wording


def test_a_message_that_is_repeated_has_the_time_of_its_first_hand_over_that_may_have_arrived(shelf):
    issued(shelf)
    times = []
    for kind in (Kind.TRANSIENT, Kind.UNKNOWN, Kind.UNKNOWN):
        times.append(shelf.clock())
        shelf.hand_over(shelf.claim_messages(), Retry(shelf.clock(), kind.value, ""), problem=Problem(kind, ""))
        shelf.clock.advance(minutes=1)
    (repeated,) = shelf.open_messages(shelf.claim_messages())
    assert repeated.at == times[1]


@pytest.mark.parametrize("ending", [Done(), Cancel("bad_input", "550")])
def test_a_message_that_is_handed_over_again_has_no_delivery_update_yet(shelf, ending):
    issued(shelf)
    shelf.set(InvitationRow, delivery_at=shelf.clock())  # it bounced, and a person retries it
    shelf.hand_over(shelf.claim_messages(), ending)
    assert shelf.row(InvitationRow).delivery_at is None


def test_a_stale_invitation_that_another_worker_has_claimed_is_left_alone(shelf):
    issued(shelf)
    shelf.claim_messages()
    stale(shelf)
    assert (shelf.row(InvitationRow).state, shelf.job("Ona").state) == (InvitationState.WORKING, JobState.ISSUED)


def test_a_chunk_of_hand_overs_is_stored_in_one_transaction(shelf):
    shelf.add(customer("Ona"), customer("Rasa"), customer("Jonas"))
    shelf.issue()

    shelf.send()

    assert [job.state for job in shelf.rows(Job)] == [JobState.INVITED] * 3


def test_a_link_with_less_life_than_its_floor_is_stale_and_one_with_just_the_floor_is_not(shelf):
    issued(shelf)
    (message,) = shelf.claim_messages()
    last = message.expires_at - message.floor
    assert not has_stale_link(message, last)
    assert has_stale_link(message, last + timedelta(microseconds=1))
    abroad = replace(message, expires_at=message.expires_at.astimezone(ZoneInfo("Europe/Berlin")))
    assert not has_stale_link(abroad, last)


def test_a_dead_link_is_stale_even_without_a_floor(shelf):
    issued(shelf)
    (message,) = shelf.claim_messages()
    message = replace(message, floor=timedelta(0))
    assert not has_stale_link(message, message.expires_at)
    assert has_stale_link(message, message.expires_at + timedelta(seconds=1))


def test_a_message_waits_while_its_customer_has_the_link_in_the_app(shelf, subtests):
    now, wait = shelf.clock(), timedelta(minutes=30)
    for name, invite_at, due_at in [("Ona", now + wait, now + wait), ("Jan", None, now), ("Eva", now - wait, now)]:
        with subtests.test(invite_at=invite_at):
            batch = shelf.add(customer(name))
            shelf.set(Job, Job.batch_id == batch, invite_at=invite_at)
            shelf.issue()
            assert shelf.row(InvitationRow, batch_id=batch).due_at == due_at
