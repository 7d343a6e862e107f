"""Rows that were put off because of their account or sender, and are due again once that may work."""

import uuid
from datetime import timedelta

import pytest

from onboarding_worker.core.budgets import backpressure
from onboarding_worker.core.budgets.backpressure import make_snoozed_due, make_waiting_jobs_due
from onboarding_worker.core.database.tables import InvitationRow, Job
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import BATCH, EVENT, PAUSED, JobState
from tests.stored.shelf import customer

HOUR = timedelta(hours=1)


@pytest.fixture
def put_off(shelf):
    """Adds jobs that are due in an hour, put off for this reason; `changes`: what is otherwise, by name."""

    def add(reason, names, **changes):
        later = shelf.clock() + HOUR
        shelf.add(*(customer(name) for name in names))
        for name in names:
            shelf.set(Job, Job.customer_id == name, due_at=later, reason=reason)
        for name, values in changes.items():
            shelf.set(Job, Job.customer_id == name, **values)

    return add


def due_now(shelf):
    return {row.customer_id for row in shelf.rows(Job) if row.due_at is not None and row.due_at <= shelf.clock()}


def test_once_a_person_has_ended_a_pause_the_rows_that_it_put_off_are_due_and_no_others(shelf, put_off):
    put_off(
        Reason.RATE_LIMITED,
        ["Ona", "Unreachable", "Quiet", "Elsewhere", "LooksUp", "Held"],
        Unreachable={"reason": Reason.UNREACHABLE},
        Quiet={"reason": Reason.QUIET_HOURS},
        Elsewhere={"account": "other"},
        LooksUp={"unknown_attempt": uuid.uuid4()},  # it may have cost a credit: a look-up comes when it can tell
        Held={"state": JobState.HELD},
    )
    make_snoozed_due(shelf.database, ["kyc"], now=shelf.clock())
    assert due_now(shelf) == {"Ona", "Unreachable"}


def test_a_row_that_is_due_already_keeps_its_place_when_a_pause_is_ended(shelf, put_off):
    put_off(Reason.RATE_LIMITED, ["Ona"], Ona={"due_at": shelf.clock() - HOUR})
    make_snoozed_due(shelf.database, ["kyc"], now=shelf.clock())
    assert shelf.job("Ona").due_at == shelf.clock() - HOUR


def test_messages_are_made_due_by_the_name_of_their_channel(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.set(InvitationRow, due_at=shelf.clock() + HOUR, reason=Reason.UNREACHABLE)
    make_snoozed_due(shelf.database, ["kyc", "sms"], now=shelf.clock())
    assert shelf.row(InvitationRow).due_at == shelf.clock() + HOUR
    make_snoozed_due(shelf.database, ["email"], now=shelf.clock())
    assert shelf.row(InvitationRow).due_at == shelf.clock()


def test_once_a_sender_has_room_only_the_jobs_that_wait_for_one_are_made_due(shelf, put_off, monkeypatch):
    monkeypatch.setattr(backpressure, "CHUNK", 2)
    put_off(
        Reason.WAITS_FOR_SENDER,
        ["Ona", "Vita", "Jonas", "Rasa", "Event", "Quiet", "Held", "Early", "Paused", "Joined"],
        Event={"priority": EVENT},
        Quiet={"reason": Reason.QUIET_HOURS},
        Held={"state": JobState.HELD},
        Early={"due_at": shelf.clock() - HOUR},
        Paused={"priority": BATCH + PAUSED},
        Joined={"leader_id": 1},
    )
    make_waiting_jobs_due(shelf.database, now=shelf.clock())
    assert due_now(shelf) == {"Ona", "Vita", "Jonas", "Rasa", "Event", "Early"}
    assert shelf.job("Early").due_at == shelf.clock() - HOUR
