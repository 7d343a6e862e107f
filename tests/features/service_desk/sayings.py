"""What `customer show --json` says of each customer, for the witness of the simulation."""

from collections.abc import Sequence
from typing import Any

from onboarding_worker.features.service_desk.command import _facts
from onboarding_worker.features.service_desk.opened import finder_of
from onboarding_worker.features.service_desk.timeline import About, timeline
from onboarding_worker.reporting.operation_report import OperationReport
from onboarding_worker.wiring.container import Parts

ENDS = "Next: the session ends"  # at the provider: it is not the row that moves then


def say(parts: Parts, customers: Sequence[str], whole: OperationReport) -> dict[str, Any]:
    finder, around = finder_of(parts), parts.reporting.circumstances()
    shown, following = {}, []
    for customer in customers:
        history = finder.history(customer)
        if history is None:
            continue
        moments = timeline(history, around, now=whole.at)
        shown[customer] = _facts(parts.contact.caps, history.facts) | {
            "timeline": [(one.at, one.text) for one in moments],
            # When the rows came that have ended: by their ends, as the timeline has them, of several the first.
            "came": {job.changed_at: job.created_at for job in reversed(history.facts.jobs)},
        }
        nexts = [one for one in moments if one.about is About.NEXT and not one.text.startswith(ENDS)]
        following += [(customer, one.at, one.then, one.text) for one in nexts]
    return {"customers": shown, "next": following}
