"""Links that must not leave: whose messages are over then, and which jobs wait for another session."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.messages.stale_links import replace_sessions
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rules.contact import Caps
from tests.stored.shelf import changed, customer

HOUR = timedelta(hours=1)
NAMES = ("Aged", "Corrected", "Over", "Again", "Invited", "Other", "Fresh")


@pytest.fixture
def put_off(shelf):
    """All due messages but those of Fresh turn out to have links that must not leave."""

    def run(*, kind=None, **contact):
        now = shelf.clock()
        policy = changed(shelf.message_policy, reissue_at=lambda account, end: end if account == "late" else now)
        policy = changed(policy, **({"spacing": 3 * HOUR} | contact))
        found = {message.customer.customer_id: message for message in shelf.claim_messages()}
        fresh = found.pop("Fresh", None)
        changes = {"Corrected": {"given_away": True}, "Over": {"ended": True}, "Again": {"ended": True}}
        stale = [replace(one, **changes.get(name, {})) for name, one in found.items()]
        if kind:
            stale = [replace(one, kind=kind) for one in stale]
        shelf.set(Job, Job.customer_id == "Invited", state=JobState.INVITED)
        shelf.set(Job, Job.customer_id == "Other", session_id=None)
        with shelf.database.write() as connection:
            replace_sessions(connection, policy, stale, now=now)
        return fresh

    return run


@pytest.fixture
def issued(shelf):
    shelf.add(*(customer(name, channel=Channel.BOTH) for name in NAMES))
    shelf.issue()
    shelf.set(Job, Job.customer_id == "Again", reissues=1, attempts=4)
    shelf.set(Job, Job.customer_id == "Aged", attempts=4)
    shelf.clock.advance(hours=1)
    return shelf


def jobs(shelf):
    found = {row.customer_id: row for row in shelf.rows(Job)}
    return {
        name: (row.state.value, row.reason, row.due_at and row.due_at - shelf.clock()) for name, row in found.items()
    }


def messages(shelf, channel):
    customers = {row.session_id: row.customer_id for row in shelf.rows(Job)}
    rows = shelf.rows(InvitationRow, channel=channel)
    return {customers.get(row.session_id, "Other"): (row.state.value, row.reason) for row in rows}


@pytest.mark.both_databases
def test_the_messages_of_a_session_go_together_and_each_job_waits_for_its_own_time(issued, put_off):
    put_off()
    stale = ("superseded", "stale_link")
    emails = dict.fromkeys(NAMES, stale) | {"Corrected": ("superseded", "address_corrected"), "Fresh": ("working", "")}
    assert messages(issued, "email") == emails
    assert messages(issued, "sms") == dict.fromkeys(NAMES, stale) | {"Fresh": ("waiting", "")}
    assert {row.lease_until is None for row in issued.rows(InvitationRow, state="superseded")} == {True}
    assert jobs(issued) == {
        "Aged": ("waiting", "stale_link", 2 * HOUR),
        "Corrected": ("waiting", "session_ends_first", timedelta(0)),
        "Over": ("waiting", "stale_link", timedelta(0)),
        "Again": ("waiting", "stale_link", 2 * HOUR),
        "Invited": ("invited", "", None),
        "Other": ("issued", "", None),
        "Fresh": ("issued", "", None),
    }
    moved = [row for row in issued.rows(Job) if row.state is JobState.WAITING]
    assert {(row.attempts, row.changed_at, bool(row.detail)) for row in moved} == {(0, issued.clock(), True)}


@pytest.mark.parametrize(
    ("reissues", "ends"), [(1, ("waiting", "stale_link", 2 * HOUR)), (0, ("lapsed", "reissues_spent", None))]
)
def test_a_job_whose_customer_has_had_all_sessions_lapses(issued, put_off, reissues, ends):
    put_off(caps=Caps(reissues, 100))
    found = jobs(issued)
    assert found["Aged"] == ends
    assert {found[name][0] for name in NAMES[:4]} == {ends[0]}
    assert (found["Invited"][0], found["Other"][0], found["Fresh"][0]) == ("invited", "issued", "issued")


def test_a_text_that_has_ended_by_itself_keeps_its_end(issued, put_off):
    over = [InvitationState.FAILED, InvitationState.SENT, InvitationState.HELD, InvitationState.WORKING]
    for name, state in zip(NAMES, over, strict=False):
        session_id = issued.job(name).session_id
        of_job = (InvitationRow.session_id == session_id, InvitationRow.channel == "sms")
        issued.set(InvitationRow, *of_job, state=state, reason="", due_at=None)
    put_off()
    found = messages(issued, "sms")
    assert [found[name][0] for name in NAMES[:4]] == ["failed", "sent", "held", "working"]


def test_a_reminder_that_must_not_leave_moves_neither_its_job_nor_another_message(issued, put_off):
    put_off(kind="reminder-1")
    emails = messages(issued, "email")
    assert (emails["Aged"], emails["Corrected"]) == (("superseded", "stale_link"), ("superseded", "address_corrected"))
    assert {state for state, _ in messages(issued, "sms").values()} == {"waiting"}
    assert {state for state, *_ in jobs(issued).values()} == {"issued", "invited"}


def test_the_account_of_the_session_says_when_it_opens_another(issued, put_off):
    session = issued.row(SessionRow, customer_id="Aged")
    issued.set(SessionRow, SessionRow.id == session.id, account="late")
    put_off()
    assert jobs(issued)["Aged"][2] == session.expires_at - issued.clock()
