"""`check`, `status` and the report say the same time of the same account or sender, and it comes then."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from onboarding_worker.cli.lists.foreseen import ListCost, foreseen
from onboarding_worker.core.database.tables import Budget
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.lists.importing.list_import import USUAL
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.reporting.report_lines import line_values
from onboarding_worker.reporting.store.outlook import CallsNow
from tests.simulated.world import World, customer

SOON = timedelta(minutes=25)


def midnight(at: datetime) -> datetime:
    return (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


SITUATIONS: dict[str, tuple[dict[str, Any], str, dict[str, Any], Any]] = {  # settings, budget, its state, how far ahead
    "a paced account": ({"limits": ["2/hour"]}, "kyc", {"next_at": SOON}, lambda now: now + SOON),
    "a slot of a lower limit": ({"limits": ["2/hour"]}, "kyc", {"next_at": 9 * SOON}, lambda now: now + SOON * 6 / 5),
    "a pause": ({"limits": ["20/second"]}, "kyc", {"blocked_until": SOON}, lambda now: now + SOON),
    "a cap of the day": (
        {"limits": ["20/second"], "more": 'credits = ["2/day"]'},
        "kyc",
        {"credits_today": 2, "credits_week": 2, "credits_month": 2},
        midnight,
    ),
    "a paced sender": ({"sender": 'limits = ["2/hour"]'}, "sender/email", {"next_at": SOON}, lambda now: now + SOON),
    "a sender's ramp": (
        {"sender": 'ramp = "48/day x2"'},
        "sender/email",
        {"next_at": SOON, "ramp_from": timedelta(0)},
        lambda now: now + SOON,
    ),
}


def said_by_check(world: World) -> str | None:
    """Of a list of one row that is worked alone."""
    cost = ListCost(world.parts, CallsNow(world.parts.database, digest="", rule=USUAL.rule))
    cost.add(AcceptedLine(2, customer("Jonas"), "kyc", "", 0, ()))
    cost.finish()
    found: str | None = foreseen(world.parts, cost.judged, cost.due, (), apart=(), batch=None)["forecast"][
        "finishes_at"
    ]
    return found


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_the_same_facts_give_the_same_time_wherever_they_are_asked_about(make, situation):
    settings, budget, state, comes = SITUATIONS[situation]
    world = make(**settings)
    batch, now = world.add(customer("Ona")), world.clock()
    if budget == "sender/email":
        await world.issue()
    stored = {name: now + one if isinstance(one, timedelta) else one for name, one in state.items()}
    if "credits_today" in stored:
        stored["credits_day"] = now.date()
    world.set(Budget, Budget.name == budget, **stored)
    (line,) = world.parts.facts.lines(batch)
    facts = world.parts.batches.find(str(batch))
    said = {
        "check": said_by_check(world),
        "status": world.parts.reporting.status(facts)["forecast"]["finishes_at"],
        "report": line_values(line, world.parts.reporting.columns(facts))["next_at"],
    }
    assert said == dict.fromkeys(said, written(comes(now)))
