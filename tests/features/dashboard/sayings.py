"""What the page On call says, for the witness of the simulation."""

from collections.abc import Sequence
from typing import Any

from onboarding_worker.features.dashboard.contract import Asked, Sources
from onboarding_worker.features.dashboard.pages import on_call
from onboarding_worker.features.dashboard.users import Person, Role
from onboarding_worker.reporting.operation_report import OperationReport
from onboarding_worker.wiring.container import Parts


def say(parts: Parts, _customers: Sequence[str], whole: OperationReport) -> dict[str, Any]:
    if not (whole.attention or whole.blocked):
        return {}
    return {"on call": on_call.read(Sources(parts), Asked({}, Person("ann", Role.VIEWER), whole.at))}
