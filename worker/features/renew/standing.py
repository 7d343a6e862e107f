"""What `status` says of renewals: how many the next weeks bring, and who was not asked; and what `check` says: how many
the next months bring, and what they cost."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.notation import counted, written
from onboarding_worker.core.model.customers import invitation_channels
from onboarding_worker.core.rules.budgets import BudgetState
from onboarding_worker.features.renew.section import Renew, after
from onboarding_worker.features.renew.store import renewals
from onboarding_worker.features.renew.store.renewals import Way
from onboarding_worker.reporting.standings import NOTHING_TO_SAY, Standing, Standings
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.money import amounts_in_words, in_json

if TYPE_CHECKING:
    from onboarding_worker.reporting.prices import Prices

WEEKS = 8
MONTHS = 12
MOST_SHOWN = 1000


def _standing(settings: Settings, database: Database, _states: Mapping[str, BudgetState], now: datetime) -> Standing:
    rules = settings.section(Renew)
    if not rules.on:
        return NOTHING_TO_SAY
    times = [now, *(now + timedelta(weeks=week) for week in range(1, WEEKS + 1))]
    left = renewals.not_asked(database, most=MOST_SHOWN)
    by_way = renewals.number_due_by_way(database, rules, times)
    sums = [sum(of_way[at] for of_way in by_way.values()) for at in range(len(times))]
    weeks = [later - before for before, later in pairwise(sums)]
    said = f"renewals: {sums[0]} due, {sum(weeks)} in the next {WEEKS} weeks ({', '.join(map(str, weeks))})"
    reasons = Counter(row.why for row in left)
    if left:
        said += f"; not asked: {', '.join(f'{number} {why}' for why, number in sorted(reasons.items()))}"
    shown = [
        {"customer": row.customer_id, "purpose": row.purpose, "approved_at": written(row.approved_at), "why": row.why}
        for row in left
    ]
    return Standing([said], {"renewals": {"due": sums[0], "weeks": weeks, "not_asked": shown}}, [])


def _foreseen(settings: Settings, database: Database, now: datetime) -> Standing:
    rules = settings.section(Renew)
    if not rules.on:
        return NOTHING_TO_SAY
    from onboarding_worker.reporting.prices import Prices

    prices = Prices.of(settings)
    this_month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    times = [now, *(after(this_month, months) for months in range(1, MONTHS + 1))]
    by_way = renewals.number_due_by_way(database, rules, times)
    due = _needs({way: sums[0] for way, sums in by_way.items()}, prices)
    months = [
        {"month": f"{after(this_month, month):%Y-%m}"}
        | _needs({way: sums[month + 1] - sums[month] for way, sums in by_way.items()}, prices)
        for month in range(MONTHS)
    ]
    said = [(f"in {month['month']}", month) for month in months if month["customers"]]
    said = [("due now", due), *said] if due["customers"] else said
    lines = [f"  {when}: {counted(of['customers'], 'customer')}{_cost_in_words(of)}" for when, of in said]
    heading = f"renewals in the next {MONTHS} months, each with its first message:" if lines else ""
    heading = heading or f"renewals: none in the next {MONTHS} months"
    return Standing([heading, *lines], {"renewals": {"due": due, "months": months}}, [])


def _needs(customers: Mapping[Way, int], prices: "Prices") -> dict[str, Any]:
    """What it takes to ask so many customers again: a session of the account that approved each, a first message."""
    sessions, messages = Counter[str](), Counter[str]()
    for way, number in customers.items():
        if number:
            sessions[way.account] += number
            messages.update(dict.fromkeys(invitation_channels(way.channel), number))
    cost = prices.total(sessions, messages)
    facts = {"customers": sum(customers.values()), "sessions": dict(sorted(sessions.items()))}
    return facts | {"messages": dict(sorted(messages.items()))} | ({"cost": in_json(cost)} if cost else {})


def _cost_in_words(facts: Mapping[str, Any]) -> str:
    return f", {amounts_in_words(facts['cost'])}" if "cost" in facts else ""


STANDINGS = Standings(_standing, foreseen=_foreseen)
