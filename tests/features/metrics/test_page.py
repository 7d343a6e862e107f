"""What the page of metrics says of the rows that there are."""

from dataclasses import fields
from datetime import UTC, datetime

from onboarding_worker.core.limits.budgets import BudgetRule, BudgetState
from onboarding_worker.features.metrics import metrics_page
from onboarding_worker.features.metrics.metrics_page import page_of
from onboarding_worker.features.metrics.store.gauges import Configured, Gauges

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOTHING = {one.name: {} for one in fields(Gauges)} | {"webhooks": None, "webhooks_to_check": 0}


def test_rows_and_messages_that_wait_for_what_is_not_configured_are_counted():
    rows = {"waiting": {"kyc": 5, "gone": 2}, "messages": {("email", "waiting"): 7, ("sms", "waiting"): 1}}
    gauges = Gauges(**NOTHING | rows | {"messages": rows["messages"] | {("sms", "sent"): 9}})
    here = Configured({"kyc": BudgetRule("kyc", (), 4)}, {"email": BudgetRule("sender/email", (), 4)}, [])

    page = page_of(gauges, {}, here, now=NOW)

    assert page.values[metrics_page.NOT_CONFIGURED] == {(): 3.0}
    assert page.values[metrics_page.JOBS_WAITING] == {("kyc",): 5.0}


def test_accounts_that_share_a_budget_are_one_series_of_its_credits():
    shared = BudgetRule("kyc", (), 4, credits=9, names=("kyc", "kyc-lt"))
    here = Configured({"kyc": shared, "kyc-lt": shared, "au": BudgetRule("au", (), 4, names=("au",))}, {}, [])

    page = page_of(Gauges(**NOTHING), {"kyc": BudgetState(credits_used=5)}, here, now=NOW)

    assert page.values[metrics_page.CREDITS] == {("kyc, kyc-lt",): 5.0, ("au",): 0.0}
    assert page.values[metrics_page.CREDITS_CAP] == {("kyc, kyc-lt",): 9.0}
