"""What the page On call says, for the witness of the simulation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from onboarding_worker.features.dashboard.contract import Asked, Sources
from onboarding_worker.features.dashboard.pages import on_call
from onboarding_worker.features.dashboard.users import Person, Role
from onboarding_worker.wiring.container import Parts


def say(parts: Parts, _customers: Sequence[str], now: datetime) -> dict[str, Any]:
    return {"on call": on_call.read(Sources(parts), Asked({}, Person("ann", Role.VIEWER), now))}
