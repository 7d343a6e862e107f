"""Reminders of the same link, each in its time, for as long as they are right; and caps on what a customer is sent."""

from dataclasses import replace
from datetime import time, timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.tables import Batch, InvitationRow, Job, SessionRow
from onboarding_worker.core.messages.how_many import GOES_FIRST
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Done, Hold, Kind, Reconcile
from onboarding_worker.core.model.states import BATCH, EVENT, InvitationState, JobState, SessionState
from onboarding_worker.core.rules.contact import Caps, Ladder, Rung
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.lists.decisions.store.decisions import Decisions, Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.store import admission as leading
from onboarding_worker.reporting.store.outlook import outlook_of
from onboarding_worker.reporting.store.waiting import of_other_channels
from tests.stored.shelf import WEEK, changed, customer

DAY = timedelta(days=1)
CAPS = Caps(3, 6)


@pytest.fixture
def reminding(shelf):
    """The senders' policy, with reminders after two and five days."""

    def policy(**changes):
        shelf.message_policy = changed(shelf.message_policy, caps=CAPS, reminders=(5 * DAY, 2 * DAY), **changes)
        return shelf

    return policy


def invited(shelf, who=None, *, lifetime=WEEK, channel="email", **how):
    batch = shelf.add(who or customer("Ona"), **how)
    shelf.issue(lifetime=lifetime)
    shelf.send(channel=channel)
    return batch


def kinds(shelf, **values):
    return [row.kind for row in shelf.rows(InvitationRow, **values)]


def after(shelf, span):
    shelf.clock.now += span
    return [message.kind for message in shelf.send()]


def ended(shelf, kind):
    row = shelf.row(InvitationRow, kind=kind)
    return row.state, row.reason


def test_a_customer_who_has_not_finished_is_reminded_of_the_same_link(shelf, reminding):
    reminding()
    invited(shelf)
    first = shelf.row(InvitationRow, kind="invitation")
    due = {row.kind: row.due_at - first.sent_at for row in shelf.rows(InvitationRow) if row.due_at}
    assert due == {"reminder-1": 2 * DAY, "reminder-2": 5 * DAY}
    assert after(shelf, 2 * DAY - timedelta(seconds=1)) == []
    shelf.clock.advance(seconds=1)
    (message,) = shelf.send()
    assert (message.kind, message.opening.link) == ("reminder-1", "https://verify.test/token-0001")
    assert after(shelf, 3 * DAY) == ["reminder-2"]
    assert len(shelf.rows(SessionRow)) == 1
    assert shelf.job("Ona").state is JobState.INVITED


def test_without_reminders_there_are_none(shelf):
    invited(shelf)
    assert kinds(shelf) == ["invitation"]


def test_there_is_none_that_the_link_would_not_outlive_by_enough(shelf, reminding):
    reminding()
    invited(shelf, lifetime=2 * DAY + timedelta(hours=11))
    assert kinds(shelf) == ["invitation"]


def test_each_channel_has_its_own(shelf, reminding):
    reminding()
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.send(channel="email")
    shelf.clock.advance(hours=1)
    shelf.send(channel="sms")
    assert after(shelf, 2 * DAY - timedelta(minutes=30)) == ["reminder-1"]
    assert [message.kind for message in shelf.send(channel="sms")] == []


def test_a_text_of_the_providers_own_is_followed_by_reminders(shelf, reminding):
    reminding()
    shelf.policy = changed(shelf.policy, reminds=True, reminders=(2 * DAY,))
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue(sms_sent=True)
    shelf.clock.now += 2 * DAY
    assert [message.kind for message in shelf.send(channel="sms")] == ["reminder-1"]


def test_after_a_text_of_the_providers_own_no_step_goes_by_text_to_a_country_that_gets_none(shelf):
    ladder = Ladder({2 * DAY: Rung("sms"), 5 * DAY: Rung("email")})
    shelf.policy = changed(
        shelf.policy, reminds=True, reminders=(2 * DAY, 5 * DAY), ladder=ladder, countries=frozenset({"XX"})
    )
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue(sms_sent=True)
    reminders = [row for row in shelf.rows(InvitationRow) if row.kind != "invitation"]
    assert [(row.channel, row.due_at - shelf.clock()) for row in reminders] == [("email", 5 * DAY)]


def test_a_step_of_the_ladder_goes_by_another_channel_even_if_the_first_did_not_reach_the_customer(shelf, reminding):
    reminding(ladder=Ladder({5 * DAY: Rung("sms")}))
    invited(shelf, customer("Ona", channel=Channel.EMAIL))
    due = {(row.channel, row.kind) for row in shelf.rows(InvitationRow) if row.due_at}
    assert due == {("email", "reminder-1"), ("sms", "reminder-2")}
    shelf.set(InvitationRow, InvitationRow.kind == "invitation", state=InvitationState.BOUNCED)
    assert after(shelf, 2 * DAY) == []
    assert ended(shelf, "reminder-1") == (InvitationState.SUPERSEDED, "not_reached")
    shelf.clock.now += 3 * DAY
    (message,) = shelf.send(channel="sms")
    assert (message.kind, message.opening.link) == ("reminder-2", "https://verify.test/token-0001")


def test_a_step_by_a_channel_without_an_address_is_left_out(shelf, reminding):
    reminding(ladder=Ladder({2 * DAY: Rung("sms"), 5 * DAY: Rung("sms")}))
    who = customer("Ona", channel=Channel.EMAIL)
    invited(shelf, replace(who, person=replace(who.person, phone="")))
    assert kinds(shelf) == ["invitation"]


# Checked again when they are about to leave.


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda shelf: shelf.set(Job, state=JobState.COMPLETED), "session_ended"),
        (lambda shelf: shelf.set(SessionRow, state=SessionState.EXPIRED), "session_ended"),
        (lambda shelf: shelf.set(SessionRow, state=SessionState.STARTED, result="review"), "not_open"),
        (lambda shelf: shelf.set(Job, state=JobState.HELD), "not_open"),
        (
            lambda shelf: shelf.set(InvitationRow, InvitationRow.kind == "invitation", state=InvitationState.BOUNCED),
            "not_reached",
        ),
        (lambda shelf: shelf.set(SessionRow, expires_at=shelf.clock() + 2 * DAY), "link_ends_first"),
        (lambda shelf: setattr(shelf, "message_policy", changed(shelf.message_policy, reminders=())), "none_left"),
    ],
    ids=["completed", "expired", "in review", "held", "bounced", "ends first", "configured no more"],
)
def test_one_that_is_not_right_any_more_does_not_leave(shelf, reminding, change, reason):
    reminding()
    invited(shelf)
    change(shelf)
    job = shelf.job("Ona").state
    assert after(shelf, 2 * DAY) == []
    assert ended(shelf, "reminder-1") == (InvitationState.SUPERSEDED, reason)
    assert shelf.job("Ona").state is job


def test_who_is_in_review_through_an_earlier_link_is_not_reminded_of_the_new_one(shelf, reminding):
    reminding()
    invited(shelf)
    first = shelf.row(SessionRow)
    shelf.set(SessionRow, state=SessionState.EXPIRED)
    shelf.set(InvitationRow, InvitationRow.kind != "invitation", state=InvitationState.SUPERSEDED, due_at=None)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock())
    shelf.issue()
    shelf.send()
    shelf.set(SessionRow, SessionRow.id == first.id, result="review")
    assert after(shelf, 2 * DAY) == []
    (reminder,) = shelf.rows(InvitationRow, kind="reminder-1", reason="not_open")
    assert reminder.state is InvitationState.SUPERSEDED


def test_of_two_that_are_due_after_an_outage_one_leaves(shelf, reminding):
    reminding()
    invited(shelf)
    assert after(shelf, 5 * DAY) == ["reminder-2"]
    assert ended(shelf, "reminder-1") == (InvitationState.SUPERSEDED, "passed_over")


def test_one_that_falls_into_the_night_waits_for_the_morning(shelf, reminding):
    noon_is_quiet = Hours({"email": QuietHours(time(11), time(15))})
    reminding(hours=noon_is_quiet)
    shelf.clock.advance(hours=-2)
    invited(shelf, customer("Ona", timezone="UTC"))
    assert shelf.row(InvitationRow, kind="reminder-1").due_at == shelf.clock() + 2 * DAY
    assert after(shelf, 2 * DAY + timedelta(hours=2)) == []  # it became due late
    assert after(shelf, timedelta(hours=3)) == ["reminder-1"]


def test_a_paused_batch_sends_no_reminder_and_an_events_reminder_does_not_overtake(shelf, reminding):
    reminding()
    batch = shelf.add(customer("Ona"), priority=EVENT)
    shelf.issue()
    messages = shelf.claim_messages()
    Decisions(shelf.database).pause(batch, by="ann", now=shelf.clock())
    shelf.hand_over(messages)
    assert after(shelf, 2 * DAY) == []
    Decisions(shelf.database).resume(batch, now=shelf.clock())
    assert shelf.row(InvitationRow, kind="reminder-1").priority == BATCH
    assert [message.kind for message in shelf.send()] == ["reminder-1"]


def test_a_reminder_whose_channel_was_taken_out_is_named_as_waiting(shelf, reminding):
    reminding()
    batch = invited(shelf)
    assert of_other_channels(shelf.database, ["sms"]) == {"email": {batch: 2}}
    assert of_other_channels(shelf.database, ["email"]) == {}


def test_a_reminder_with_an_unknown_outcome_holds_no_job_and_needs_no_decision(shelf, reminding):
    reminding()
    batch = invited(shelf)
    shelf.clock.now += 2 * DAY
    shelf.hand_over(shelf.claim_messages(), Hold(Kind.UNKNOWN, "no answer"))
    assert shelf.job("Ona").state is JobState.INVITED
    facts = shelf.facts.counts(batch)
    assert facts.invitations == {InvitationState.SENT: 1}
    # Neither when the job is held for something else.
    shelf.set(Job, state=JobState.HELD, reason="unknown", unknown_attempt=None)
    assert Decisions(shelf.database).repeat_cost(Which(batch)).messages == {}
    Decisions(shelf.database).resolve(Which(batch), Verdict.REPEAT, now=shelf.clock())
    assert shelf.job("Ona").state is JobState.WAITING
    assert after(shelf, timedelta(0)) == []


@pytest.mark.both_databases
def test_reminders_have_a_batchs_priority(shelf, reminding):
    reminding()
    batch = invited(shelf)
    counts, outlook = shelf.facts.counts(batch), outlook_of(shelf.database, batch)
    assert (counts.unsent, counts.last_due, outlook.channels) == ({}, None, {})
    shelf.clock.now += 2 * DAY
    shelf.claim_messages()
    assert not outlook_of(shelf.database, batch).under_way


@pytest.mark.both_databases
def test_a_reminder_whose_link_has_become_too_old_replaces_nothing(shelf, reminding):
    reminding()
    invited(shelf)
    shelf.clock.now += 2 * DAY
    assert shelf.open_messages([replace(message, floor=WEEK) for message in shelf.claim_messages()]) == []
    assert (ended(shelf, "reminder-1"), shelf.job("Ona").state) == (
        (InvitationState.SUPERSEDED, "stale_link"),
        JobState.INVITED,
    )


def test_a_reminder_whose_link_has_become_too_old_leaves_the_first_message_of_another_channel(shelf, reminding):
    """It is checked by itself when it is due."""
    reminding()
    invited(shelf, customer("Ona", channel=Channel.BOTH))
    shelf.clock.now += 2 * DAY
    assert shelf.open_messages([replace(message, floor=WEEK) for message in shelf.claim_messages()]) == []
    assert ended(shelf, "reminder-1") == (InvitationState.SUPERSEDED, "stale_link")
    assert shelf.row(InvitationRow, channel="sms").state is InvitationState.WAITING


def test_a_first_message_whose_link_is_too_old_leaves_the_reminders_of_another_channel(shelf, reminding):
    """They repeat a link that was sent, and are checked when they are due."""
    reminding()
    invited(shelf, customer("Ona", channel=Channel.BOTH))
    shelf.put_off_as_stale(policy=changed(shelf.on("sms"), caps=CAPS))
    assert [row.state for row in shelf.rows(InvitationRow, channel="sms")] == [InvitationState.SUPERSEDED]
    assert shelf.row(InvitationRow, kind="reminder-1").state is InvitationState.WAITING


def test_the_reminders_of_a_customer_who_is_cancelled_go_with_the_job(shelf, reminding):
    reminding()
    batch = invited(shelf)
    Decisions(shelf.database).cancel(batch, now=shelf.clock())
    assert ended(shelf, "reminder-1") == (InvitationState.SUPERSEDED, "cancelled")
    assert after(shelf, 2 * DAY) == []


def test_for_a_customer_whom_another_list_waits_for_they_go_on_for_that_one(shelf, reminding):
    reminding()
    batch = invited(shelf)
    other = shelf.add(customer("Ona"))
    Decisions(shelf.database).cancel(batch, now=shelf.clock())
    shelf.claim()
    assert shelf.job("Ona", batch_id=other).state is JobState.INVITED
    assert after(shelf, 2 * DAY) == ["reminder-1"]
    assert shelf.row(InvitationRow, kind="reminder-1").batch_id == other


@pytest.mark.both_databases
def test_a_reminder_claimed_while_its_list_is_cancelled_does_not_wait_without_a_time(shelf, reminding):
    reminding()
    batch = invited(shelf)
    other = shelf.add(customer("Ona"))
    shelf.set(Batch, Batch.id == batch, cancelled_at=shelf.clock())  # and cut off there, or not that far yet
    assert after(shelf, 2 * DAY) == []
    shelf.claim()
    assert shelf.job("Ona", batch_id=other).state is JobState.INVITED
    assert [row for row in shelf.rows(InvitationRow, state=InvitationState.WAITING) if row.due_at is None] == []


# The cap on messages.


def test_a_customer_who_has_had_all_its_messages_gets_none_and_the_job_has_lapsed(shelf, reminding):
    reminding()
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 1))
    invited(shelf)
    assert after(shelf, 2 * DAY) == []
    assert ended(shelf, "reminder-1") == (InvitationState.SUPERSEDED, "messages_spent")
    assert shelf.job("Ona").state is JobState.INVITED  # its link still opens
    shelf.add(customer("Ona", purpose="renewal"))
    shelf.issue()
    assert shelf.send() == []
    job = shelf.job("Ona", purpose="renewal")
    assert (job.state, job.reason) == (JobState.LAPSED, "messages_spent")
    assert shelf.rows(InvitationRow)[-1].state is InvitationState.SUPPRESSED


def test_what_has_been_superseded_or_refused_does_not_count(shelf, reminding):
    reminding()
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 2))
    invited(shelf)
    shelf.set(InvitationRow, InvitationRow.kind == "reminder-2", state=InvitationState.FAILED)
    assert after(shelf, 2 * DAY) == ["reminder-1"]


def test_a_message_with_an_unknown_outcome_counts_because_it_may_have_left(shelf, reminding):
    reminding()
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 1))
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    unknown_call = shelf.clock() + timedelta(hours=1)
    shelf.set(InvitationRow, InvitationRow.channel == "email", due_at=shelf.clock() + timedelta(seconds=1))
    shelf.hand_over(shelf.claim_messages(channel="sms"), Reconcile(unknown_call, "unknown", "no answer"), channel="sms")
    text = shelf.row(InvitationRow, channel="sms")
    assert (text.state, text.due_at) == (InvitationState.WAITING, unknown_call)
    shelf.clock.advance(seconds=1)
    assert shelf.claim_messages() == []


def test_while_the_last_message_may_be_on_its_way_another_one_waits(shelf, reminding):
    reminding()
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 1))
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    emails = shelf.claim_messages()
    assert shelf.claim_messages(channel="sms") == []
    text = shelf.row(InvitationRow, channel="sms")
    assert (text.state, text.reason) == (InvitationState.WAITING, "last_message_on_its_way")
    shelf.invitations.release(shelf.message_policy, emails, now=shelf.clock())  # it was not made after all
    shelf.set(InvitationRow, InvitationRow.channel == "email", due_at=shelf.clock() + DAY)
    shelf.clock.advance(minutes=1)
    assert len(shelf.send(channel="sms")) == 1
    shelf.clock.now += DAY
    assert shelf.claim_messages() == []
    assert shelf.job("Ona").state is JobState.INVITED


def test_of_two_last_messages_that_are_due_at_once_the_email_goes_unless_its_sender_stands_still(shelf, reminding):
    reminding()
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 1))
    shelf.add(*(customer(name, channel=Channel.BOTH) for name in ("Ona", "Rasa")))
    shelf.issue()
    assert shelf.claim_messages(channel="sms") == []
    assert len(shelf.claim_messages(most=1)) == 1
    for _ in range(6):
        shelf.clock.advance(minutes=1)
        texts = shelf.claim_messages(channel="sms")
    assert len(texts) == 1


@pytest.mark.postgresql_alone
def test_a_dispatcher_does_not_send_the_last_message_while_another_is_about_to(shelf, reminding):
    reminding()
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 1))
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    with shelf.database.write() as other:
        # The dispatcher of texts has counted, and has not committed yet.
        leading.lock_customers(other, ["Ona"])
        assert shelf.claim_messages() == []
    shelf.clock.advance(minutes=1)
    assert len(shelf.claim_messages()) == 1


@pytest.mark.postgresql_alone
def test_two_senders_at_once_do_not_both_send_the_last_message(shelf, reminding):
    reminding()
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 1))
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.clock.now += GOES_FIRST + timedelta(seconds=1)  # from now on the text does not wait for the email
    texts = []

    def meanwhile(_connection, _emails):
        texts.extend(shelf.claim_messages(channel="sms"))

    emails = shelf.invitations.claim(shelf.on("email"), most=9, now=shelf.clock(), on_claim=meanwhile).invitations
    assert (len(emails), texts) == (1, [])


@pytest.mark.postgresql_alone
def test_a_sender_that_has_the_lock_counts_again_what_left_before_it(shelf, reminding):
    reminding()
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 1))
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.clock.now += GOES_FIRST + timedelta(seconds=1)
    texts = []

    @sa.event.listens_for(shelf.database.engine, "before_cursor_execute")
    def meanwhile(_connection, _cursor, statement, *_):
        if "SKIP LOCKED" in statement and "FROM customer" in statement and not texts:
            texts.append(None)  # the claim of texts takes the lock too
            texts[:] = shelf.claim_messages(channel="sms")

    emails = shelf.claim_messages()
    assert (len(emails), len(texts)) == (0, 1)


@pytest.mark.parametrize("customers", [1, tally.MANY])
def test_reminders_are_of_the_list_whose_row_got_the_message_while_it_was_sent(reminding, decide, customers):
    shelf = reminding()
    people = [customer(f"Ona {number}") for number in range(customers)]
    before = shelf.add(*people)
    shelf.issue()
    opened = shelf.open_messages(shelf.claim_messages())
    own = shelf.add(*people)
    decide.cancel(before, now=shelf.clock())
    assert shelf.claim() == []  # the rows of the other list lead, and reuse the sessions
    shelf.finish_messages(*(CallResult(item, shelf.clock(), Done()) for item in opened))
    assert {row.batch_id for row in shelf.rows(InvitationRow)} == {own}
    shelf.clock.advance(days=2)
    assert len(shelf.send()) == customers
    assert {job.state for job in shelf.rows(Job, batch_id=own)} == {JobState.INVITED}


def test_reminders_of_a_message_that_left_after_its_lists_end_go_on_for_the_next_list(reminding, decide):
    shelf = reminding()
    before = shelf.add(customer("Ona"))
    shelf.issue()
    (opened,) = shelf.open_messages(shelf.claim_messages())
    decide.cancel(before, now=shelf.clock())
    shelf.finish_messages(CallResult(opened, shelf.clock(), Done()))
    own = shelf.add(customer("Ona"))
    assert shelf.claim() == []
    assert after(shelf, 2 * DAY) == ["reminder-1"]
    assert {row.batch_id for row in shelf.rows(InvitationRow) if row.kind != "invitation"} == {own}


def test_reminders_that_an_events_row_takes_over_go_before_no_list(reminding, decide):
    shelf = reminding()
    before = invited(shelf)
    own = shelf.add(customer("Ona"), priority=EVENT)
    decide.cancel(before, now=shelf.clock())
    assert shelf.claim() == []
    reminders = [row for row in shelf.rows(InvitationRow, batch_id=own) if row.state is InvitationState.WAITING]
    assert [row.priority for row in reminders] == [BATCH, BATCH]
