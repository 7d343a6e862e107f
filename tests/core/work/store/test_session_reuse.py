"""A job whose customer has a live session reuses it: no call, and no second message."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, Budget, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Cancel
from onboarding_worker.core.model.states import BATCH, InvitationState, JobState
from onboarding_worker.core.rows.own_links import StableLinks
from onboarding_worker.core.rows.suppressions import release, suppress
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.known_customers import KnownChoices
from onboarding_worker.reporting.store.ledger import nonresponders
from tests.stored.erased import erased
from tests.stored.own_link import say_not_me
from tests.stored.shelf import WEEK, add_lines, customer, line


@pytest.fixture
def served(shelf):
    """Ona has a live session whose job has ended. A new list contains Ona."""

    def serve(*, lifetime=WEEK, sent=False, invitation=None, channel=Channel.EMAIL):
        shelf.add(customer("Ona"))
        shelf.issue(lifetime=lifetime)
        if sent:
            shelf.send()
        if invitation:
            shelf.set(InvitationRow, state=invitation)
        shelf.set(Job, state=JobState.CANCELLED)
        shelf.clock.advance(seconds=1)
        return shelf.add(customer("Ona", channel=channel))

    return serve


def claimed(shelf, policy=None):
    return shelf.jobs.claim(policy or shelf.policy, most=10, now=shelf.clock())


def test_a_job_adopts_the_live_session_of_its_customer(shelf, served):
    batch = served()
    found = claimed(shelf)
    assert (found.jobs, found.reused_channels) == ([], {"email"})
    row = shelf.job("Ona", batch_id=batch)
    assert (row.state, row.session_id, row.reason) == (JobState.ISSUED, shelf.row(SessionRow).id, "joined_session")
    assert (row.lease_until, row.due_at) == (None, None)
    assert len(shelf.rows(Attempt)) == 1  # the first job's attempt; no call was made for this job


def test_a_customer_who_was_refused_is_asked_once_more_by_whichever_list(shelf, served):
    batch, refused = served(), uuid4()
    shelf.set(Job, Job.batch_id != batch, refused_session=refused)
    claimed(shelf)
    assert shelf.job("Ona", batch_id=batch).refused_session == refused


def test_an_unsent_message_is_sent_once_for_the_new_job(shelf, served):
    batch = served()
    claimed(shelf)
    (message,) = shelf.send()
    assert (message.job_id, message.batch_id) == (shelf.job("Ona", batch_id=batch).id, batch)
    assert shelf.job("Ona", batch_id=batch).state is JobState.INVITED
    assert len(shelf.rows(InvitationRow)) == 1


@pytest.mark.parametrize("state", [InvitationState.SENT, InvitationState.DELIVERED])
def test_a_job_whose_customer_already_got_the_link_is_invited_without_a_second_message(shelf, served, state):
    batch = served(sent=True, invitation=state)
    claimed(shelf)
    assert shelf.job("Ona", batch_id=batch).state is JobState.INVITED
    assert shelf.claim_messages() == []
    assert len(shelf.rows(InvitationRow)) == 1


@pytest.mark.both_databases
def test_who_does_not_respond_to_the_earlier_rows_message_is_a_nonresponder_of_the_row_that_reuses_it(shelf, served):
    batch = served(sent=True)
    claimed(shelf)
    (found,) = nonresponders(shelf.database, by=shelf.clock(), batch_id=batch)
    assert [found.invited_at] == [message.at for message in found.messages] == [shelf.row(InvitationRow).sent_at]


@pytest.mark.both_databases
@pytest.mark.parametrize("joined", [True, False])
def test_a_row_that_reused_a_message_has_had_one_when_it_lapses(shelf, served, joined):
    batch = served(sent=True)
    claimed(shelf)
    seen = shelf.add(customer("Ona")) if joined else batch
    assert shelf.facts.counts(seen).out == 1
    shelf.set(Job, Job.batch_id == batch, state=JobState.LAPSED)
    counts = shelf.facts.counts(seen)
    assert (counts.out, counts.lapsed_unsent) == (1, 0)


NOT_DELIVERED = ("failed", "bounced", "superseded", "suppressed")


@pytest.mark.parametrize("state", [InvitationState(word) for word in NOT_DELIVERED])
def test_a_message_that_was_not_delivered_is_sent_again_under_the_same_id(shelf, served, state):
    batch = served(invitation=state)
    before = shelf.row(InvitationRow)
    claimed(shelf)
    (message,) = shelf.send()
    assert message.id == before.id
    assert shelf.job("Ona", batch_id=batch).state is JobState.INVITED


def test_a_retry_checks_again_whether_an_address_is_suppressed(shelf, keyring):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    with shelf.database.write() as connection:
        suppress(
            connection, keyring, "email", "ona@example.org", SuppressionReason.MANUAL, "somebody", now=shelf.clock()
        )
    assert shelf.send() == []
    for released in (False, True):
        assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.FAILED, "suppressed")
        if released:
            with shelf.database.write() as connection:
                release(connection, keyring, "email", "ona@example.org")
        Decisions(shelf.database).retry(Which(batch), now=shelf.clock())
        claimed(shelf)
        assert len(shelf.send()) == released
    assert shelf.job("Ona").state is JobState.INVITED


def test_a_message_with_an_unknown_outcome_is_not_sent_again(shelf, served):
    batch = served(invitation=InvitationState.HELD)
    shelf.set(InvitationRow, reason="unknown", detail="HTTP 500")
    claimed(shelf)
    row = shelf.job("Ona", batch_id=batch)
    assert (row.state, row.reason, row.detail) == (JobState.HELD, "unknown", "HTTP 500")
    assert shelf.claim_messages() == []


def test_a_message_whose_list_was_cancelled_before_its_outcome_was_known_is_held_as_unknown(shelf, served):
    batch = served(invitation=InvitationState.SUPERSEDED)
    shelf.set(InvitationRow, reason="cancelled", unknown_attempt=shelf.row(Attempt).id)
    claimed(shelf)
    row, message = shelf.job("Ona", batch_id=batch), shelf.row(InvitationRow)
    assert (row.state, row.reason) == (message.state.value, message.reason) == ("held", "unknown")


def test_a_channel_that_the_session_was_not_sent_on_gets_its_first_message(shelf, served):
    batch = served(sent=True, channel=Channel.BOTH)
    assert claimed(shelf).reused_channels == {"email", "sms"}
    assert shelf.claim_messages(channel="email") == []
    (text,) = shelf.claim_messages(channel="sms")
    assert text.batch_id == batch


def test_a_job_without_a_message_is_issued(shelf, served):
    batch = served(sent=True, channel=Channel.NONE)
    assert claimed(shelf).reused_channels == frozenset()
    assert shelf.job("Ona", batch_id=batch).state is JobState.ISSUED
    assert shelf.facts.counts(batch).issued_only == 1


@pytest.mark.both_databases
def test_with_a_link_too_old_to_send_the_job_waits_for_the_sessions_end(shelf, served):
    batch = served(lifetime=timedelta(hours=6))  # below its floor of twelve hours
    assert claimed(shelf).jobs == []
    row, session = shelf.job("Ona", batch_id=batch), shelf.row(SessionRow)
    assert (row.state, row.due_at, row.reason) == (JobState.WAITING, session.expires_at, "session_ends_first")
    shelf.clock.now = session.expires_at
    assert len(shelf.issue()) == 1
    assert shelf.job("Ona", batch_id=batch).state is JobState.ISSUED


def test_with_a_link_too_old_to_send_the_call_is_made_at_once_if_the_provider_allows_it(shelf, served):
    at_once = replace(shelf.policy, reissue_at=lambda expires_at: expires_at - WEEK)
    batch = served(lifetime=timedelta(hours=6))
    (job,) = claimed(shelf, at_once).jobs
    assert (job.batch_id, job.session_id) == (batch, shelf.row(SessionRow).id)


@pytest.mark.parametrize("hours", [0, 1])
def test_a_session_whose_link_has_expired_is_not_adopted(shelf, served, hours):
    served(lifetime=timedelta(hours=20))
    shelf.clock.now = shelf.row(SessionRow).expires_at + timedelta(hours=hours)
    assert [job.session_id for job in claimed(shelf, replace(shelf.policy, any_age=True)).jobs] == [None]


def test_a_job_that_needs_no_call_takes_no_slot(shelf, served):
    served()
    shelf.add(customer("Jonas"))
    policy = shelf.ruled(limits=(Limit.parse("10/second"),))
    assert claimed(shelf, policy).slots == (shelf.clock(),)
    assert shelf.row(Budget, name="kyc").next_at == shelf.clock() + timedelta(milliseconds=100)


def test_another_customers_session_is_not_adopted(shelf, served):
    served()
    shelf.add(customer("Jonas"), customer("Ona", purpose="renewal"))
    assert len(claimed(shelf).jobs) == 2


def test_a_message_that_failed_is_sent_again_with_its_attempts_at_zero(shelf, served):
    shelf.add(customer("Jonas"))
    shelf.issue()
    shelf.hand_over(shelf.claim_messages(), Cancel("bad_input", "550 no such user"))
    assert (shelf.job("Jonas").state, shelf.row(InvitationRow).attempts) == (JobState.FAILED, 1)
    batch = shelf.add(customer("Jonas"))
    claimed(shelf)
    (message,) = shelf.send()
    assert message.attempts == 0
    assert shelf.job("Jonas", batch_id=batch).state is JobState.INVITED


def test_a_message_in_flight_stays_in_doubt_when_its_worker_dies_after_the_adoption(shelf):
    """Its hand-over may have arrived: it is never repeated unseen."""
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.open_messages(shelf.claim_messages(), repeatable=False)
    shelf.set(Job, state=JobState.CANCELLED)
    batch = shelf.add(customer("Ona"))
    claimed(shelf)
    assert shelf.row(InvitationRow).batch_id == batch

    shelf.clock.advance(minutes=2)
    shelf.expired_leases.end(shelf.policy.rule.retry, now=shelf.clock())

    message = shelf.row(InvitationRow)
    assert (message.state, message.reason) == (InvitationState.HELD, "unknown")
    hand_over = shelf.row(Attempt, invitation_id=message.id)
    assert (hand_over.job_id, hand_over.outcome) == (message.job_id, "unknown")
    assert message.unknown_attempt == hand_over.id


def test_a_message_that_was_under_way_when_its_list_was_paused_and_cancelled_is_not_held_back(shelf, decide):
    before = shelf.add(customer("Ona"))
    shelf.issue()
    (opened,) = shelf.open_messages(shelf.claim_messages())
    own = shelf.add(customer("Ona"))
    decide.pause(before, by="ann", now=shelf.clock())
    reusing = []  # by a worker, between two transactions of the cancel
    Decisions(shelf.database, lambda _rows: reusing.append(claimed(shelf))).cancel(before, now=shelf.clock())
    assert reusing[0].jobs == []
    shelf.finish_messages(CallResult(opened, shelf.clock(), None))
    assert [message.batch_id for message in shelf.send()] == [own]


# Sessions that are bought on click: our own link stands where the session will be.

LINKS = StableLinks("https://verify.test", timedelta(days=60))


@pytest.fixture
def on_click(shelf):
    shelf.policy = replace(shelf.policy, any_age=True, on_click=LINKS)
    shelf.message_policy = replace(shelf.message_policy, stable=LINKS)
    return shelf


def in_list(shelf, *, channel=Channel.EMAIL, by=Decisions.cancel):
    """Ona is invited to press, and a person ends or stops her list."""
    batch = shelf.add(customer("Ona", channel=channel))
    assert shelf.flush().opened == []
    shelf.send()
    by(Decisions(shelf.database), batch, now=shelf.clock())
    shelf.clock.advance(seconds=1)
    return batch


def messages(shelf):
    return [(row.batch_id, row.channel, row.state) for row in shelf.rows(InvitationRow)]


@pytest.mark.parametrize("channel", list(Channel))
def test_a_session_is_bought_on_click_where_a_message_brings_our_link(on_click, channel):
    on_click.add(customer("Ona", channel=channel))
    assert (on_click.claim() == []) is (channel is not Channel.NONE)


def test_who_has_our_link_from_a_cancelled_list_gets_it_from_no_other(on_click):
    first = in_list(on_click)
    second = on_click.add(customer("Ona"))
    assert on_click.flush().opened == []
    assert on_click.send() == []
    row = on_click.job("Ona", batch_id=second)
    assert (row.state, row.session_id, row.reason) == (JobState.INVITED, on_click.row(SessionRow).id, "joined_session")
    assert messages(on_click) == [(first, "email", InvitationState.SENT)]


@pytest.mark.both_databases
def test_a_list_that_takes_a_stopped_lists_place_sends_its_message(on_click):
    first = on_click.add(customer("Ona"))
    on_click.flush()
    decisions = Decisions(on_click.database)
    decisions.interrupt(first, by="ann", now=on_click.clock())
    second = on_click.add(customer("Ona"))
    decisions.take_leads(second, stopped_only=True, now=on_click.clock())
    assert on_click.flush().channels == {"email"}
    assert len(on_click.send()) == 1
    decisions.resume(first, now=on_click.clock())
    assert on_click.send() == []
    assert messages(on_click) == [(second, "email", InvitationState.SENT)]


def test_another_channel_gets_a_message_with_the_same_link(on_click):
    in_list(on_click)
    on_click.add(customer("Ona", channel=Channel.SMS))
    on_click.flush()
    assert len(on_click.send(channel="sms")) == 1
    assert len(on_click.rows(SessionRow)) == 1


@pytest.mark.parametrize(("channel", "minutes"), [(Channel.NONE, 0), (Channel.EMAIL, 10), (Channel.EMAIL, 0)])
def test_who_needs_the_session_at_once_gets_one(on_click, channel, minutes):
    in_list(on_click)
    batch = on_click.add(customer("Ona", channel=channel))
    if channel is Channel.EMAIL:  # an event: the customer is in the app until then
        on_click.set(Job, Job.batch_id == batch, invite_at=on_click.clock() + timedelta(minutes=minutes))
    needs = channel is Channel.NONE or minutes > 0
    assert [opened.batch_id for opened in on_click.flush().opened] == ([batch] if needs else [])


@pytest.mark.parametrize("row", [{"unknown_attempt": UUID(int=1)}, {"needs_status_check": True}], ids=str)
def test_what_is_to_be_looked_up_first_brings_no_message(on_click, row):
    first = in_list(on_click)
    second = on_click.add(customer("Ona"))
    on_click.set(Job, Job.batch_id == second, **row)
    assert [job.looks_up for job in on_click.flush().opened] == [True]
    assert messages(on_click) == [(first, "email", InvitationState.SENT)]


@pytest.mark.both_databases
def test_a_customer_who_is_back_after_an_erasure_is_invited_again(on_click, keyring):
    batch = in_list(on_click)
    erased(on_click.database, keyring, "Ona", now=on_click.clock())
    add_lines(
        on_click.batches,
        on_click.batch(),
        [line(2, customer("Ona"))],
        priority=BATCH,
        now=on_click.clock(),
        choices=KnownChoices(allow_erased=True),
    )
    on_click.flush()
    assert [message.batch_id for message in on_click.send()] == [batch + 1]


def test_a_row_whose_visitor_was_another_person_is_invited_again_on_a_persons_word(on_click, keyring):
    batch = on_click.add(customer("Ona"))
    on_click.flush()
    on_click.send()
    say_not_me(on_click, keyring, LINKS)
    decisions = Decisions(on_click.database)
    decisions.cancel(batch, now=on_click.clock())
    on_click.clock.advance(seconds=1)
    second = on_click.add(customer("Ona"))
    on_click.flush()
    assert [message.batch_id for message in on_click.send()] == [second]
