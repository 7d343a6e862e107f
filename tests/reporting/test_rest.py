"""What a run says that its batch waits for."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.core.limits.budgets import BudgetState
from worker.reporting.forecast import of_rest
from worker.reporting.store.outlook import Orphans, UnknownOutcomes
from worker.reporting.waits import Wait

SOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = SOON + timedelta(days=7)


@pytest.mark.parametrize(
    ("reconcile_at", "looked_at", "words"),
    [
        (SOON, LATER, "2 calls whose answer was lost, the first to be reconciled then"),
        (LATER, SOON, "3 sessions whose token was lost, the first to be looked at then"),
        (LATER, LATER, ""),
    ],
)
def test_of_lost_answers_and_lost_tokens_it_names_what_is_due_then(
    reconcile_at: datetime, looked_at: datetime, words: str
):
    outcomes = UnknownOutcomes({"kyb": 2}, 0, reconcile_at, {"kyc": Orphans(3, None, looked_at)})
    assert of_rest(SOON, BudgetState(), lambda: outcomes) == Wait(detail=words, until=SOON)


def test_a_pause_and_a_limit_that_last_until_then_are_named_before_anything_is_read(subtests):
    cases = [
        (BudgetState(blocked_until=SOON, pause_reason="HTTP 429"), "HTTP 429"),
        (BudgetState(next_at=SOON), "a limit, or a cap on credits, allows no more before then"),
    ]
    for state, words in cases:
        with subtests.test(state=state):
            assert of_rest(SOON, state, lambda: pytest.fail("it was read")).detail == words
