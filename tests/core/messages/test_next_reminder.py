"""Reminders: for the session that the customer has, while it helps, and never two at once."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.messages.reminders import Invited, Reminder, next_reminder
from onboarding_worker.core.model.customers import Customer, Person
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import LIVE_SESSIONS, InvitationState, JobState, SessionState
from onboarding_worker.core.rules.contact import Caps, ContactPolicy, Ladder, Rung, kind_of
from onboarding_worker.core.rules.quiet_hours import QuietHours, allowed_at

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AFTER = (2 * DAY, 5 * DAY)
UTC_ZONE = ("UTC",)
OUT = (InvitationState.SENT, InvitationState.DELIVERED)
INVITED = Invited(
    job=JobState.INVITED,
    session=SessionState.WAITING,
    invitation=InvitationState.SENT,
    invited_at=NOW,
    expires_at=NOW + 7 * DAY,
    floor=12 * HOUR,
)


def following(invited=INVITED, *, after=AFTER, zones=UTC_ZONE, quiet=None, now=NOW, skip=(), elsewhere=None, **changes):
    return next_reminder(after, replace(invited, **changes), zones, quiet, now, skip=skip, elsewhere=elsewhere)


def test_reminders_are_counted_from_the_invitation_and_named_in_their_order():
    assert following() == Reminder("reminder-1", NOW + 2 * DAY)
    assert following(made={"reminder-1"}) == Reminder("reminder-2", NOW + 5 * DAY)
    assert following(made={"reminder-1", "reminder-2"}) is Reason.NONE_LEFT
    assert following(after=()) is Reason.NONE_LEFT


def test_the_order_in_the_configuration_does_not_matter():
    assert following(after=(5 * DAY, 2 * DAY, 5 * DAY)) == Reminder("reminder-1", NOW + 2 * DAY)


def test_only_an_invited_customer_whose_job_is_open_is_reminded():
    assert [
        (job, got)
        for job in sorted(set(JobState) - {JobState.INVITED})
        if (got := following(job=job)) is not Reason.NOT_OPEN
    ] == []


def test_only_a_live_session_is_reminded_of():
    assert [
        (session, got)
        for session in sorted(set(SessionState) - LIVE_SESSIONS)
        if (got := following(session=session)) is not Reason.NOT_OPEN
    ] == []


def test_a_customer_who_has_begun_is_reminded_and_one_in_review_is_not():
    assert following(session=SessionState.STARTED) == Reminder("reminder-1", NOW + 2 * DAY)
    assert following(session=SessionState.STARTED, in_review=True) is Reason.NOT_OPEN


def test_no_reminder_follows_a_message_that_has_not_arrived():
    assert [
        (invitation, got)
        for invitation in sorted(set(InvitationState) - set(OUT))
        if (got := following(invitation=invitation)) is not Reason.NOT_REACHED
    ] == []


def test_a_link_with_too_little_life_left_is_not_reminded_of():
    due = NOW + 2 * DAY
    assert following(expires_at=due + 12 * HOUR) == Reminder("reminder-1", due)
    assert following(expires_at=due + 12 * HOUR - MINUTE) is Reason.LINK_ENDS_FIRST


def test_the_life_that_counts_is_what_is_left_after_the_quiet_hours():
    night = QuietHours.parse("11:00-20:00")
    due = NOW + 2 * DAY + 8 * HOUR
    assert following(quiet=night) == Reminder("reminder-1", due)
    assert following(quiet=night, expires_at=due + 11 * HOUR) is Reason.LINK_ENDS_FIRST


def test_after_an_outage_only_the_last_reminder_that_is_due_is_sent():
    assert following(now=NOW + 3 * DAY) == Reminder("reminder-1", NOW + 3 * DAY)
    assert following(now=NOW + 6 * DAY) == Reminder("reminder-2", NOW + 6 * DAY)


def test_quiet_hours_do_not_bunch_reminders_up():
    invited = replace(INVITED, invited_at=NOW + 10 * HOUR)
    found = following(invited, after=(HOUR, 2 * HOUR, 20 * HOUR), quiet=QuietHours.parse("21:00-08:00"), now=NOW)
    assert found == Reminder("reminder-2", NOW + 20 * HOUR)


def test_other_times_in_the_configuration_repeat_no_reminder():
    assert following(after=(DAY, 3 * DAY), made={"reminder-2"}, now=NOW + 2 * DAY) is Reason.NONE_LEFT


def test_a_step_of_the_ladder_that_cannot_reach_the_customer_is_passed_over_and_keeps_its_name():
    assert following(skip={2 * DAY}) == Reminder("reminder-2", NOW + 5 * DAY)
    assert following(skip={5 * DAY}, now=NOW + 6 * DAY) == Reminder("reminder-1", NOW + 6 * DAY)
    assert following(skip=set(AFTER)) is Reason.NONE_LEFT


def test_a_step_by_another_channel_keeps_that_channels_quiet_hours():
    night = QuietHours.parse("11:00-20:00")
    assert following(elsewhere={2 * DAY: night}) == Reminder("reminder-1", NOW + 2 * DAY + 8 * HOUR)
    assert following(elsewhere={5 * DAY: night}) == Reminder("reminder-1", NOW + 2 * DAY)


def test_a_ladder_says_how_each_reminder_differs_from_the_first_message():
    ladder = Ladder({5 * DAY: Rung("sms", "short"), 9 * DAY: Rung(template="last")})
    after = (9 * DAY, 2 * DAY, 5 * DAY)
    kinds = ("invitation", "reminder-1", "reminder-2", "reminder-3")
    assert [ladder.step_of(kind, after) for kind in kinds] == [Rung(), Rung(), Rung("sms", "short"), Rung("", "last")]
    assert ladder.channels == {"sms"}
    by_email = Customer("C-1", person=Person(email="ona@example.com"))
    assert ContactPolicy(Caps(1, 1), ladder=ladder).impossible(by_email) == {5 * DAY}


clocks = st.builds(time, st.integers(0, 23), st.sampled_from([0, 30]))
hours = st.builds(QuietHours, clocks, clocks).filter(lambda quiet: quiet.start != quiet.end)
spans = st.lists(st.integers(1, 24 * 12).map(lambda count: count * HOUR), max_size=5)
stays = st.lists(st.integers(0, 100).map(lambda count: count * HOUR), max_size=40)


@settings(max_examples=200)
@given(spans, st.none() | hours, st.integers(1, 14), stays)
def test_whenever_the_timer_looks_a_customer_gets_each_reminder_once_in_order_apart_and_with_life_left(
    after, quiet, days, steps
):
    """A session's life, with the timer stopped for any time between two checks."""
    zones = ("America/St_Johns", "Europe/Riga")
    invited = replace(INVITED, expires_at=NOW + days * DAY)
    sent, now = [], NOW
    for step in [*steps, 100 * DAY]:
        found = next_reminder(after, invited, zones, quiet, now)
        assert isinstance(found, Reason) or found.due_at >= now
        now += step
        if isinstance(found, Reminder) and found.due_at <= now:
            now = found.due_at
            sent.append((found.kind, now))
            invited = replace(invited, made=[kind for kind, _ in sent])
    kinds = [int(kind.removeprefix("reminder-")) for kind, _ in sent]
    times = [at for _, at in sent]
    nominal = sorted(set(after))
    assert kinds == sorted(set(kinds))
    assert times == sorted(set(times))
    for kind, at in sent:
        index = int(kind.removeprefix("reminder-")) - 1
        assert kind == kind_of(index)
        assert at >= NOW + nominal[index]
        assert at + INVITED.floor <= invited.expires_at
        assert allowed_at(zones, quiet, at) == at
        assert all(NOW + later > at for later in nominal[index + 1 : index + 2])
