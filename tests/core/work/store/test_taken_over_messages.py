"""A row that reuses its customer's session takes its messages over: what becomes of each, and of those beside it."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow, StableLink
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.core.model.states import EVENT, InvitationState, JobState, SessionState
from onboarding_worker.core.rows.own_links import StableLinks
from onboarding_worker.core.rules.reissue import SETTLES
from tests.stored.own_link import secret_of_link
from tests.stored.shelf import WEEK, customer

S = InvitationState
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def served(shelf):
    """Ona has a session from a row that was cancelled, as has Jonas; a new list has Ona."""

    def serve(*, channel=Channel.EMAIL, session=None, message=None, priority=EVENT, purpose="onboarding", **row):
        shelf.add(customer("Ona"), customer("Jonas"))
        shelf.issue()
        shelf.set(Job, state=JobState.CANCELLED)
        shelf.set(InvitationRow, attempts=3, detail="before")
        first = shelf.job("Ona")
        if session:
            shelf.set(SessionRow, SessionRow.id == first.session_id, **session)
        if message:
            shelf.set(InvitationRow, InvitationRow.job_id == first.id, **message)
        shelf.clock.advance(minutes=1)
        batch = shelf.add(customer("Ona", channel=channel, purpose=purpose), priority=priority)
        if row:
            shelf.set(Job, Job.batch_id == batch, **row)
        return first, shelf.row(Job, batch_id=batch)

    return serve


def message(shelf, first):
    return shelf.row(InvitationRow, session_id=first.session_id, kind="invitation", channel="email")


WAITS, HOLDS, STAYS = "waits", "held", "stays"
OTHER = UUID(int=1)  # a test has the same name in each process
UNKNOWN = {"unknown_attempt": OTHER}


@pytest.mark.parametrize(
    ("values", "becomes", "job_state"),
    [
        ({"state": S.WAITING}, WAITS, JobState.ISSUED),
        ({"state": S.WAITING, "reason": "cancelled"}, WAITS, JobState.ISSUED),
        ({"state": S.WAITING} | UNKNOWN, "keeps its time", JobState.ISSUED),
        ({"state": S.WORKING}, "keeps its time", JobState.ISSUED),
        ({"state": S.WORKING} | UNKNOWN, "keeps its time", JobState.ISSUED),
        ({"state": S.HELD, "reason": "cannot_work"}, HOLDS, JobState.HELD),
        ({"state": S.SUPERSEDED, "reason": "abandoned"}, HOLDS, JobState.HELD),
        *(({"state": state, "reason": "cancelled"}, WAITS, JobState.ISSUED) for state in (S.SUPERSEDED, S.FAILED)),
        *(({"state": state, "reason": ""}, WAITS, JobState.ISSUED) for state in (S.BOUNCED, S.SUPPRESSED)),
        *(({"state": state} | UNKNOWN, HOLDS, JobState.HELD) for state in (S.SUPERSEDED, S.FAILED)),
        *(({"state": state} | UNKNOWN, HOLDS, JobState.HELD) for state in (S.BOUNCED, S.SUPPRESSED)),
        *(({"state": state}, STAYS, JobState.INVITED) for state in (S.SENT, S.DELIVERED)),
        *(({"state": state} | UNKNOWN, STAYS, JobState.INVITED) for state in (S.SENT, S.DELIVERED)),
    ],
    ids=str,
)
def test_what_becomes_of_the_first_message_of_a_session_that_a_row_reuses(shelf, served, values, becomes, job_state):
    first, own = served(message=values)
    before = message(shelf, first)
    others = shelf.rows(InvitationRow, job_id=shelf.job("Jonas").id)
    assert shelf.claim() == []
    after = message(shelf, first)
    assert (shelf.row(Job, id=own.id).state, len(shelf.rows(InvitationRow))) == (job_state, 2)
    assert shelf.rows(InvitationRow, job_id=shelf.job("Jonas").id) == others
    if becomes == STAYS:
        assert after == before
        return
    assert (after.job_id, after.batch_id, after.priority) == (own.id, own.batch_id, own.priority)
    if becomes == WAITS:
        kept = (S.WAITING, shelf.clock(), 0, "", "")
    elif becomes == HOLDS:
        reason = before.reason if before.state is S.HELD else "unknown"
        kept = (S.HELD, before.due_at, 3, reason, "before")
    else:
        kept = (before.state, before.due_at, 3, before.reason, "before")
    assert (after.state, after.due_at, after.attempts, after.reason, after.detail) == kept
    assert after.unknown_attempt == before.unknown_attempt


@pytest.mark.parametrize("state", [None, S.SUPERSEDED])
@pytest.mark.parametrize(("hours", "waits"), [(1, True), (-1, False), (None, False)])
def test_a_customer_in_the_app_gets_the_message_of_a_reused_session_later(shelf, served, hours, waits, state):
    invite_at = None if hours is None else shelf.clock() + hours * HOUR
    first, own = served(message={"state": state} if state else {"channel": "sms"}, invite_at=invite_at)
    shelf.claim()
    after = message(shelf, first)
    assert (after.due_at, after.job_id) == (invite_at if waits else shelf.clock(), own.id)
    assert shelf.row(Job, id=own.id).state is JobState.ISSUED


REMINDER = {"kind": "first", "state": S.WAITING, "reason": ""}
ENDED = {"kind": "first", "state": S.SUPERSEDED, "reason": "cancelled"}


@pytest.mark.parametrize(
    ("values", "goes_on"),
    [
        (REMINDER, True),
        (ENDED, True),
        (ENDED | {"reason": "session_ended"}, False),
        (ENDED | {"state": S.FAILED}, False),
        (REMINDER | {"state": S.SENT}, False),
        (ENDED | {"due_at": None}, False),
        (REMINDER | {"channel": "sms"}, False),
        (REMINDER | {"session_id": OTHER}, False),
        (REMINDER | {"kind": "resend-1"}, False),
        (ENDED | {"kind": "resend-1"}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("sent", [True, False])
def test_only_reminders_of_a_sent_message_that_ended_with_its_list_go_on(shelf, served, values, goes_on, sent):
    first, own = served(message={"state": S.SENT if sent else S.HELD, "due_at": None})
    known = message(shelf, first)
    reminder = {**known._mapping, "id": uuid4(), "due_at": shelf.clock() + HOUR, **values}
    with shelf.database.write() as connection:
        connection.execute(sa.insert(InvitationRow).values(reminder))
    before = shelf.row(InvitationRow, id=reminder["id"])
    shelf.claim()
    after = shelf.row(InvitationRow, id=reminder["id"])
    if goes_on and sent:
        assert (after.job_id, after.batch_id, after.state, after.reason) == (own.id, own.batch_id, S.WAITING, "")
        assert after.due_at == before.due_at
    else:
        assert after == before
    assert message(shelf, first).kind == "invitation"


@pytest.mark.parametrize(
    ("session", "adopted"),
    [
        ({}, True),
        ({"state": SessionState.STARTED}, True),
        *(({"state": state}, False) for state in SessionState if state not in ("waiting", "started")),
        ({"purpose": "renewal"}, False),
        ({"customer_id": "Petras"}, False),
        ({"expires_at": MINUTE}, False),
        ({"expires_at": timedelta(hours=12) + MINUTE + timedelta(seconds=1)}, True),
        ({"expires_at": timedelta(hours=12) + MINUTE - timedelta(seconds=1)}, "waits"),
        ({"encrypted": ERASED}, "waits"),
        ({"given_away": "email", "same_link": False}, "waits"),
        ({"given_away": "email", "same_link": True}, True),
        ({"result": "review", "expires_at": MINUTE}, "follows"),
        ({"result": "review", "encrypted": ERASED}, "follows"),
        ({"result": "review"}, True),
        ({"result": "review", "past": True, "expires_at": MINUTE}, False),
        ({"result": "review", "past": True, "encrypted": ERASED}, "waits"),
    ],
    ids=str,
)
def test_which_session_a_row_reuses_waits_for_or_leaves(shelf, served, session, adopted):
    values = {name: shelf.clock() + value if name == "expires_at" else value for name, value in session.items()}
    first, own = served(session=values)
    untouched = shelf.row(SessionRow, customer_id="Jonas")
    end = shelf.row(SessionRow, id=first.session_id).expires_at
    called = [job.id for job in shelf.claim()]
    row = shelf.row(Job, id=own.id)
    assert shelf.row(SessionRow, customer_id="Jonas") == untouched
    if adopted is False:
        assert (called, row.state) == ([own.id], JobState.WORKING)
        return
    assert (called, row.lease_until) == ([], None)
    if adopted == "follows":
        assert (row.state, row.session_id, row.reason) == (JobState.INVITED, first.session_id, "joined_session")
    elif adopted == "waits":
        past = session.get("past", False)
        assert row.session_id == (None if past else first.session_id)
        assert (row.state, row.due_at, row.reason) == (JobState.WAITING, end, "session_ends_first")
    else:
        assert (row.state, row.session_id, row.due_at) == (JobState.ISSUED, first.session_id, None)
    assert len(shelf.rows(Job, state=JobState.CANCELLED)) == 2


@pytest.mark.parametrize("change", [{"encrypted": ERASED}, {"given_away": "email"}, {"expires_at": HOUR}], ids=str)
def test_a_reused_sessions_reason_to_wait_is_said(shelf, served, change):
    values = {name: shelf.clock() + value if name == "expires_at" else value for name, value in change.items()}
    _, own = served(session=values)
    shelf.claim()
    words = {"encrypted": "erased", "given_away": "corrected", "expires_at": "too old"}
    assert words[next(iter(change))] in shelf.row(Job, id=own.id).detail


@pytest.mark.parametrize("ends_in", [-timedelta(seconds=1), timedelta(0), timedelta(seconds=1)])
def test_a_link_too_old_to_send_is_replaced_as_soon_as_its_provider_opens_another(shelf, served, ends_in):
    _, own = served(session={"expires_at": shelf.clock() + HOUR})
    at = shelf.clock() + ends_in
    called = [job.id for job in shelf.claim(policy=replace(shelf.policy, reissue_at=lambda _end: at))]
    row = shelf.row(Job, id=own.id)
    if ends_in > timedelta(0):
        assert (called, row.due_at) == ([], at)
    else:
        assert (called, row.state) == ([own.id], JobState.WORKING)


def test_a_row_whose_messages_have_our_own_link_reuses_a_session_of_any_age(shelf, served):
    first, own = served(session={"expires_at": shelf.clock() + HOUR})
    assert shelf.claim(policy=replace(shelf.policy, any_age=True)) == []
    assert shelf.row(Job, id=own.id).session_id == first.session_id


@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.NONE])
@pytest.mark.parametrize("checked", [True, False])
def test_the_end_of_a_reused_session_is_looked_at_if_a_message_could_carry_another_link(
    shelf, served, channel, checked
):
    at = shelf.clock() + HOUR if checked else None
    first, _ = served(session={"check_at": at}, channel=channel)
    shelf.set(SessionRow, SessionRow.customer_id == "Jonas", check_at=shelf.clock() + 2 * HOUR)
    other = shelf.row(SessionRow, customer_id="Jonas")
    shelf.claim()
    session = shelf.row(SessionRow, id=first.session_id)
    looked_at = at or (None if channel is Channel.NONE else session.expires_at + SETTLES)
    assert (session.check_at, shelf.row(SessionRow, customer_id="Jonas")) == (looked_at, other)


@pytest.mark.parametrize("past", [False, True])
def test_a_customer_who_was_refused_is_asked_once_more_with_a_session_that_counts(shelf, served, past):
    refused, own_refusal = uuid4(), uuid4()
    first, own = served(session={"past": past})
    shelf.set(Job, Job.customer_id == "Jonas", refused_session=own_refusal)
    shelf.set(Job, Job.id == first.id, refused_session=refused)
    shelf.claim()
    assert shelf.row(Job, id=own.id).refused_session == (None if past else refused)


def test_a_row_that_was_refused_itself_keeps_its_own_refusal(shelf, served):
    refused, own_refusal = uuid4(), uuid4()
    first, own = served(refused_session=own_refusal)
    shelf.set(Job, Job.id == first.id, refused_session=refused)
    shelf.claim()
    assert shelf.row(Job, id=own.id).refused_session == own_refusal


LINKS = StableLinks("https://verify.test", timedelta(days=60))


@pytest.mark.parametrize(
    ("session", "row", "taken"),
    [
        ({}, {}, True),
        ({"check_at": None}, {}, False),
        ({"expires_at": MINUTE}, {}, False),
        ({"expires_at": MINUTE + timedelta(seconds=1)}, {}, True),
        ({"purpose": "renewal"}, {}, False),
        ({"customer_id": "Petras"}, {}, False),
        ({"state": SessionState.SUPERSEDED}, {}, False),
        ({}, UNKNOWN, False),
        ({}, {"session_id": OTHER}, False),
        ({}, {"link_requested_at": timedelta(0)}, False),
        ({}, {"invite_at": HOUR}, False),
        ({}, {"invite_at": MINUTE}, True),
    ],
    ids=str,
)
def test_a_row_takes_over_only_its_own_customers_link_that_leads_on_and_was_not_bought(
    shelf, served, session, row, taken
):
    now = shelf.clock()
    values = {"state": SessionState.DEFERRED, "encrypted": ERASED, "check_at": now + HOUR, "expires_at": now + WEEK}
    given = [
        {name: now + value if isinstance(value, timedelta) else value for name, value in one.items()}
        for one in (session, row)
    ]
    first, own = served(session=values | given[0], **given[1])
    shelf.policy = replace(shelf.policy, any_age=True, on_click=LINKS)
    shelf.claim()
    after = shelf.row(Job, id=own.id)
    reused = (after.session_id, after.reason) == (first.session_id, "joined_session")
    assert reused is taken
    assert len(shelf.rows(Job, state=JobState.CANCELLED)) == 2


@pytest.mark.parametrize(
    ("link", "ends", "taken"),
    [
        ({"ends_at": MINUTE}, WEEK, False),
        ({"ends_at": MINUTE + timedelta(seconds=1)}, WEEK, True),
        ({"ends_at": HOUR}, MINUTE, False),
        ({"revoked_at": MINUTE}, WEEK, False),
    ],
    ids=str,
)
def test_a_link_that_leads_nowhere_any_more_is_not_taken_over(shelf, served, keyring, link, ends, taken):
    now = shelf.clock()
    secret_of_link(shelf, keyring, LINKS)
    shelf.set(StableLink, **{name: now + value for name, value in link.items()})
    session = {"state": SessionState.DEFERRED, "encrypted": ERASED, "check_at": now + HOUR, "expires_at": now + ends}
    first, own = served(session=session)
    shelf.policy = replace(shelf.policy, any_age=True, on_click=LINKS)
    shelf.claim()
    assert (shelf.row(Job, id=own.id).session_id == first.session_id) is taken


def test_the_end_of_a_link_that_nothing_was_bought_for_is_ours_and_not_a_providers(shelf):
    shelf.policy = replace(shelf.policy, on_click=LINKS)
    shelf.add(customer("Ona"))
    assert shelf.claim() == []
    session = shelf.row(SessionRow)
    assert (session.state, session.expires_at) == (SessionState.DEFERRED, shelf.clock() + LINKS.valid)
    assert session.expiry_source is ExpirySource.FALLBACK


@pytest.mark.parametrize(("ends", "follows"), [(MINUTE, True), (MINUTE + timedelta(seconds=1), False)])
def test_with_our_own_links_too_a_review_whose_link_has_ended_is_followed(shelf, served, ends, follows):
    first, own = served(session={"result": "review", "expires_at": shelf.clock() + ends})
    assert shelf.claim(policy=replace(shelf.policy, any_age=True)) == []
    row = shelf.row(Job, id=own.id)
    assert (row.session_id, row.state) == (first.session_id, JobState.INVITED if follows else JobState.ISSUED)
