"""What tests of all settings and commands ask of this one, and the simulation."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from onboarding_worker.features.renew.section import after

SAMPLES = [("renew", {"every": "3 months", "before": "30 days", "purposes": {"loan": "never"}})]


def next_due(rows: Callable[[str], list[Any]], plan: Any) -> datetime | None:
    """When the next approval of a simulated history is due to be renewed."""
    from trials.simulation.plan import BEFORE_MONTH  # imported here: it asks for what this module declares

    found = rows("SELECT min(approved_at) FROM renewal WHERE over_at IS NULL AND next_at IS NULL")[0][0]
    if not plan.renews_for or found is None:
        return None
    approved_at = datetime.fromisoformat(found).replace(tzinfo=UTC) if isinstance(found, str) else found
    return after(approved_at, 1) - timedelta(days=BEFORE_MONTH)


NEXT_DUE = [next_due]
