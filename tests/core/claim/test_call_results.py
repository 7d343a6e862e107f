"""What a claimed row and the result of its call say of themselves, and how rows pass gates."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

import pytest

from onboarding_worker.core.claim.flush import CallResult, Claimed, through
from onboarding_worker.core.model.endings import Done, Hold, Kind, Problem, Retry
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import ExpirySource, Session
from onboarding_worker.core.model.states import BATCH, EVENT
from onboarding_worker.core.rules.reconciliation import Nothing, UnknownCall

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OWN, LOST = UUID(int=7), UUID(int=8)
ROW = Claimed(1, 1, 1, 0, 0, BATCH, NOW, NOW, False, None, None, attempt_id=OWN)
UNKNOWN = replace(ROW, unknown_call=UnknownCall(LOST, NOW))


@pytest.mark.parametrize(
    ("row", "is_event", "looks_up", "reconciles"),
    [
        (ROW, False, False, OWN),
        (replace(ROW, priority=EVENT), True, False, OWN),
        (replace(ROW, asks_about="scan-1"), False, True, OWN),
        (UNKNOWN, False, True, LOST),
    ],
)
def test_what_the_call_of_a_claimed_row_is(row, is_event, looks_up, reconciles):
    assert (row.is_event, row.looks_up, row.reconciles) == (is_event, looks_up, reconciles)


SESSION = Session("token", "https://verify.test/token", "scan-1", NOW, ExpirySource.ANSWER)
HELD, AGAIN = Hold(Reason.UNKNOWN, "why"), Retry(NOW, Reason.TRANSIENT, "why")


@pytest.mark.parametrize(
    ("ending", "more", "called", "succeeded", "conclusive"),
    [
        (Done(), {"session": SESSION}, True, True, True),
        (Done(), {}, True, True, True),
        (Done(), {"found": Nothing()}, True, False, False),
        (Done(), {"found": Nothing(), "session": SESSION}, True, True, True),
        (Done(), {"needed_no_request": True}, False, True, True),
        (HELD, {"session": SESSION}, True, True, True),
        (HELD, {}, True, False, False),
        (HELD, {"problem": Problem(Kind.UNKNOWN, "")}, True, False, False),
        (AGAIN, {"problem": Problem(Kind.TRANSIENT, "")}, True, False, True),
        (None, {}, False, False, True),
    ],
)
def test_what_a_result_says_of_its_call(ending, more, called, succeeded, conclusive):
    result = CallResult(ROW, NOW, ending, **more)
    assert (result.called, result.succeeded, result.is_conclusive) == (called, succeeded, conclusive)


def test_each_gate_that_is_concerned_is_asked_about_what_the_earlier_ones_let_pass():
    asked = []

    def gate(name, *kept):
        def keeps(_claim, rows):
            asked.append((name, [row.id for row in rows]))
            return {row.id: name for row in rows if row.id in kept}

        return keeps

    def concerns(_claim, rows):
        return len(rows) == 4

    gates = [
        (gate("first", 1), None),
        (gate("unconcerned", 2), lambda *_: False),
        (gate("none"), None),
        (gate("concerned", 3), concerns),
        (gate("all", 2, 4), None),
        (gate("last", 9), None),
    ]
    claim = SimpleNamespace(policy=SimpleNamespace(claims_for="kyc"))
    rows = [SimpleNamespace(id=id_) for id_ in (1, 2, 3, 4)]
    assert through(gates, claim, rows) == ([], {1: "first", 3: "concerned", 2: "all", 4: "all"})
    assert asked == [("first", [1, 2, 3, 4]), ("none", [2, 3, 4]), ("concerned", [2, 3, 4]), ("all", [2, 4])]
    assert through(gates[:3], claim, rows) == (rows[1:], {1: "first"})
