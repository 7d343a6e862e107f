"""What `status` says of renewals: how many the next weeks bring, and whom none was asked of."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise

from worker.core.database.database import Database
from worker.core.foundation.timestamps import written
from worker.core.limits.budgets import BudgetState
from worker.features.renew.section import Renew
from worker.features.renew.store import renewals
from worker.reporting.standings import Standing, Standings
from worker.settings.model import Settings

WEEKS = 8
MOST_SHOWN = 1000


def _standing(settings: Settings, database: Database, _states: Mapping[str, BudgetState], now: datetime) -> Standing:
    rules = settings.section(Renew).rules
    if not rules.on:
        return Standing([], {}, [])
    times = [now, *(now + timedelta(weeks=week) for week in range(1, WEEKS + 1))]
    sums, left = renewals.outlook(database, rules, times, most=MOST_SHOWN)
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


STANDINGS = Standings(_standing)
