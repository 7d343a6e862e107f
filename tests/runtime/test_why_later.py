"""What a run says that its batch waits for."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from worker.core.limits.budgets import BudgetState
from worker.reporting.store.unknown_outcomes import Orphans, UnknownOutcomes
from worker.runtime.batch_run import why_later

SOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = SOON + timedelta(days=7)


@dataclass
class Facts:
    outcomes: UnknownOutcomes

    def unknown_outcomes(self, _batch_id: int) -> UnknownOutcomes:
        return self.outcomes


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
    assert why_later(BudgetState(), SOON, Facts(outcomes), 1) == words
