"""New sessions with their messages, when sessions are looked at, and ends that were only assumed."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.core.model.states import JobState, SessionState
from onboarding_worker.core.rows.sessions import outlived, schedule_checks
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.core.rules.reconciliation import LATEST_LOOK, LONGEST_LIFE
from onboarding_worker.core.rules.reissue import SETTLES
from tests.stored.shelf import changed, customer


@pytest.mark.parametrize(
    ("changes", "lives_on"),
    [
        ({}, True),
        ({"state": SessionState.STARTED}, True),
        ({"state": SessionState.EXPIRED}, False),
        ({"expiry_source": ExpirySource.ANSWER}, False),
        ({"issued_at": -LONGEST_LIFE}, False),
        ({"expires_at": LATEST_LOOK / 2}, False),
        ({"expires_at": timedelta(0)}, True),
    ],
    ids=["", "started", "known as ended", "the end is the provider's", "older than any lives", "not over yet", "just"],
)
def test_an_end_that_was_only_assumed_is_put_off_where_the_list_knows_better(shelf, changes, lives_on):
    now = shelf.clock()
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    values = {"expiry_source": ExpirySource.FALLBACK, "issued_at": -LONGEST_LIFE / 2, "expires_at": -LATEST_LOOK}
    values |= changes
    values |= {name: now + values[name] for name in ("issued_at", "expires_at")}
    shelf.set(SessionRow, **values)
    ona = shelf.row(SessionRow, customer_id="Ona")
    with shelf.database.write() as connection:
        outlived(connection, {ona.id}, now=now)
    ends = {row.customer_id: row.expires_at for row in shelf.rows(SessionRow)}
    assert ends == {"Ona": now + LATEST_LOOK if lives_on else values["expires_at"], "Jonas": values["expires_at"]}


@pytest.mark.parametrize(
    ("row", "session", "look_at"),
    [
        ({}, {}, "its end"),
        ({}, {"state": SessionState.STARTED}, "its end"),
        ({}, {"state": SessionState.EXPIRED}, "now"),
        *(({}, {"state": state}, None) for state in ("completed", "failed", "superseded", "deferred")),
        ({}, {"check_at": timedelta(0)}, None),
        *(({"state": state}, {}, None) for state in JobState if state is not JobState.INVITED),
        ({"channel": Channel.NONE}, {}, None),
        ({"session_id": UUID(int=1)}, {}, None),
    ],
    ids=str,
)
def test_only_the_unchecked_session_of_an_invited_job_is_looked_at_again(shelf, row, session, look_at):
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    shelf.set(Job, state=JobState.INVITED)
    shelf.set(SessionRow, check_at=None)
    ona, now = shelf.job("Ona"), shelf.clock()
    given = {name: now if value == timedelta(0) else value for name, value in session.items()}
    shelf.set(SessionRow, SessionRow.customer_id == "Ona", **({"past": False} | given))
    shelf.set(Job, Job.id == ona.id, **({"detail": ""} | row))
    before = {one.customer_id: one for one in shelf.rows(SessionRow)}
    with shelf.database.write() as connection:
        schedule_checks(connection, [ona.id], now=now)
        schedule_checks(connection, [], now=now)
    after = {one.customer_id: one for one in shelf.rows(SessionRow)}
    assert after["Jonas"] == before["Jonas"]
    times = {"now": now, "its end": before["Ona"].expires_at + SETTLES, None: before["Ona"].check_at}
    assert after["Ona"].check_at == times[look_at]


@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.BOTH, Channel.NONE])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_new_session_is_looked_at_at_its_end_or_when_it_may_be_replaced(shelf, channel, ahead):
    shelf.add(customer("Ona", channel=channel))
    policy = replace(shelf.policy, reissue_at=lambda _end: shelf.clock())
    shelf.issue(policy=changed(policy, ahead=timedelta(days=1)) if ahead else policy)
    session = shelf.row(SessionRow)
    end = session.expires_at - timedelta(days=1) if ahead else session.expires_at + SETTLES
    assert session.check_at == (None if channel is Channel.NONE else end)


@pytest.mark.parametrize("hours", [-1, 0, 1, None])
@pytest.mark.parametrize("night", [False, True])
def test_a_first_message_is_due_once_its_customer_may_have_it(shelf, hours, night):
    shelf.clock.now = shelf.clock().replace(hour=12)
    shelf.add(customer("Ona"))
    invite_at = None if hours is None else shelf.clock() + timedelta(hours=hours)
    shelf.set(Job, invite_at=invite_at)
    (opened,) = shelf.open(shelf.claim())
    quiet = Hours({"email": QuietHours.parse("00:00-23:00")}, "UTC")
    channels = shelf.finish(shelf.got(opened), policy=changed(shelf.policy, hours=quiet) if night else shelf.policy)
    due_at = max(invite_at or shelf.clock(), shelf.clock())
    due_at = shelf.clock().replace(hour=21) if night else due_at  # in Vilnius
    assert shelf.row(InvitationRow).due_at == due_at
    assert channels == ({"email"} if due_at <= shelf.clock() else set())


@pytest.mark.parametrize(
    ("ends_in", "own", "becomes", "held"),
    [
        (timedelta(hours=1), True, SessionState.SUPERSEDED, False),
        (timedelta(hours=1), False, SessionState.WAITING, True),
        (timedelta(0), True, SessionState.EXPIRED, False),
        (timedelta(0), False, SessionState.EXPIRED, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("sent", [False, True])
def test_of_two_live_sessions_the_customer_keeps_the_one_that_leads_on(shelf, ends_in, own, becomes, held, sent):
    shelf.add(customer("Ona", channel=Channel.BOTH), customer("Jonas"))
    shelf.issue()
    (old,) = shelf.rows(SessionRow, customer_id="Ona")
    other = shelf.row(SessionRow, customer_id="Jonas")
    job = shelf.job("Ona")
    shelf.set(Job, Job.id == job.id, state=JobState.WAITING, due_at=shelf.clock())
    # It came while the call was made.
    shelf.set(SessionRow, SessionRow.id == old.id, state=SessionState.EXPIRED)
    shelf.set(Job, Job.id == job.id, session_id=old.id if own else None)
    (opened,) = shelf.open(shelf.claim())
    shelf.set(SessionRow, SessionRow.id == old.id, state="waiting", expires_at=shelf.clock() + ends_in)
    policy = replace(shelf.policy, reminds=True)
    shelf.finish(shelf.got(opened, shelf.session(sms_sent=sent)), policy=policy)
    after = {row.id: row for row in shelf.rows(SessionRow)}
    assert after[old.id].state == becomes
    assert after[old.id].check_at == (old.check_at if held else None)
    assert after[other.id] == other
    assert (shelf.job("Ona").reason, len(after)) == ("second_session" if held else "", 2 if held else 3)
    if not held:
        (new,) = [row for row in after.values() if row.id not in (old.id, other.id)]
        assert (new.replaces, shelf.job("Ona").session_id) == (old.id, new.id)
