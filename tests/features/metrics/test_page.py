"""What the page of metrics says of the rows that there are."""

from datetime import UTC, datetime
from types import SimpleNamespace

from onboarding_worker.core.database.fast.tally import CountOf
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState
from onboarding_worker.features.metrics import gauges
from onboarding_worker.features.metrics.metrics_page import page_of
from onboarding_worker.features.metrics.store.gauges import rows_of
from onboarding_worker.settings.policies import BudgetRules

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def counted(kind: CountOf, name: str, rows: int, state: str = "waiting") -> SimpleNamespace:
    return SimpleNamespace(kind=kind, account=name, channel=name, state=state, rows=rows)


def test_rows_and_messages_that_wait_for_what_is_not_configured_are_counted():
    rows = [counted(CountOf.JOB, "kyc", 5), counted(CountOf.JOB, "gone", 2), counted(CountOf.MESSAGE, "email", 7)]
    rows += [counted(CountOf.MESSAGE, "sms", 1), counted(CountOf.MESSAGE, "sms", 9, "sent")]
    here = BudgetRules({"kyc": BudgetRule("kyc", (), 4)}, {"email": BudgetRule("sender/email", (), 4)})

    values = rows_of(rows, here)

    assert values[gauges.NOT_CONFIGURED] == {(): 3.0}
    assert values[gauges.JOBS_WAITING] == {("kyc",): 5.0}


def test_accounts_that_share_a_budget_are_one_series_of_its_credits():
    shared = BudgetRule("kyc", (), 4, credits=9, names=("kyc", "kyc-lt"))
    here = BudgetRules({"kyc": shared, "kyc-lt": shared, "au": BudgetRule("au", (), 4, names=("au",))}, {})

    page = page_of({}, {}, {"kyc": BudgetState(credits_used=5)}, here, [], now=NOW)

    assert page.values[gauges.CREDITS] == {("kyc, kyc-lt",): 5.0, ("au",): 0.0}
    assert page.values[gauges.CREDITS_CAP] == {("kyc, kyc-lt",): 9.0}
