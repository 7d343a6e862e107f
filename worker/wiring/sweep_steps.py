"""The steps of a sweep, made one after the other: one that fails ends none of the others, and is logged as an outage,
so once and not each time."""

import logging
from collections import defaultdict
from collections.abc import Callable

import sqlalchemy as sa

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage

log = logging.getLogger(__name__)


def each_alone(*steps: Callable[[], object]) -> None:
    """Make each of these steps. One that raises is logged by its name, and ends none of the others. Raises
    sqlalchemy.exc.OperationalError: without a database there are no other steps."""
    for step in steps:
        # With its class: several are called `step`, and would end each other's outage.
        name = getattr(step, "func", step).__qualname__.rpartition("<locals>.")[2]
        try:
            step()
        except sa.exc.OperationalError:
            raise
        except Exception as error:
            kind = type(error).__name__
            _failing[name].lasts(f"a step of the sweep, {name}, ended with {kind}; it is tried again", monotonic())
        else:
            _failing[name].over(f"a step of the sweep, {name}, works again")


_failing: defaultdict[str, Outage] = defaultdict(lambda: Outage(log))
