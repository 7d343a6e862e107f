"""A claimed message may be kept back: until a later time, or for good, and then its job ends too."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Attempt, Budget, InvitationRow
from onboarding_worker.core.messages.claim_invitations import Invitations
from onboarding_worker.core.model.endings import Done, Later, Never
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rules.limits import Limit
from tests.stored.shelf import customer


@pytest.fixture
def answer(monkeypatch):
    """Replace the first check by these answers; a second check sees the remaining customers."""
    seen = []

    def put(**answers):
        def first(_claim, candidates):
            return {one.id: answers[who] for one in candidates if (who := one.customer.customer_id) in answers}

        def second(_claim, candidates):
            seen.append([one.customer.customer_id for one in candidates])
            return {}

        monkeypatch.setattr(Invitations, "gates", ((first, None), (second, None)))
        return seen

    return put


def issued(shelf, *names):
    batch = shelf.add(*(customer(name) for name in names))
    shelf.issue()
    return batch


def test_a_message_that_is_put_off_waits_until_then_and_nothing_is_counted(shelf, answer):
    issued(shelf, "Ona", "Jonas")
    evening = shelf.clock() + timedelta(hours=9)
    seen = answer(Ona=Later(evening, "quiet_hours"))
    assert [message.customer.customer_id for message in shelf.claim_messages()] == ["Jonas"]
    assert seen == [["Jonas"]]
    (row,) = shelf.rows(InvitationRow, state=InvitationState.WAITING)
    assert (row.due_at, row.reason, row.lease_until, row.attempts, row.waits) == (evening, "quiet_hours", None, 0, 0)
    assert shelf.job("Ona").state is JobState.ISSUED
    assert shelf.claim_messages() == []
    answer()
    shelf.clock.advance(hours=9)
    (message,) = shelf.claim_messages()
    shelf.hand_over([message], Done())
    assert shelf.job("Ona").state is JobState.INVITED


def test_a_message_that_never_leaves_ends_its_job_with_the_reason(shelf, answer):
    issued(shelf, "Ona")
    answer(Ona=Never(InvitationState.SUPPRESSED, "suppressed", "do not write to this address"))
    assert shelf.claim_messages() == []
    row, job = shelf.row(InvitationRow), shelf.job("Ona")
    assert (row.state, row.due_at, row.lease_until) == (InvitationState.SUPPRESSED, shelf.clock(), None)
    assert (job.state, job.reason, job.detail) == (JobState.FAILED, "suppressed", "do not write to this address")
    assert shelf.rows(Attempt, invitation_id=row.id) == []


def test_what_does_not_leave_uses_no_slot_of_the_sender(shelf, answer):
    issued(shelf, "Ona", "Jonas", "Rasa")
    soon = Later(shelf.clock() + timedelta(hours=1), "quiet_hours")
    answer(Ona=soon, Jonas=soon)
    policy = shelf.on("email")
    limited = replace(policy, rule=replace(policy.rule, limits=(Limit.parse("50/second"),)))
    assert shelf.invitations.claim(limited, most=10, now=shelf.clock()).slots == (shelf.clock(),)
    (budget,) = shelf.rows(Budget, name=limited.rule.name)
    assert budget.next_at == shelf.clock() + timedelta(milliseconds=20)


def test_a_message_with_an_unknown_outcome_is_reconciled_whatever_the_checks_say(shelf, answer):
    issued(shelf, "Ona")
    (message,) = shelf.claim_messages()
    (opened,) = shelf.open_messages([message], repeatable=False)
    unknown_call = {"unknown_attempt": opened.attempt_id, "state": InvitationState.WAITING, "lease_until": None}
    shelf.set(InvitationRow, InvitationRow.id == message.id, **unknown_call)
    shelf.set(Attempt, Attempt.id == opened.attempt_id, closed_at=shelf.clock(), outcome="unknown")
    answer(Ona=Never(InvitationState.SUPPRESSED, "suppressed"))
    (message,) = shelf.claim_messages()
    assert message.unknown_call.attempt_id == opened.attempt_id
