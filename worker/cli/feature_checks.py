"""What features add to `onboard doctor`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from worker.core.features import Hook
from worker.core.model.findings import Finding
from worker.wiring.container import Parts

Check = Callable[[Parts], Iterator[Finding]]


@dataclass(frozen=True)
class FeatureCheck:
    """`of_database`: it needs a database that can be used."""

    run: Check
    of_database: bool = False


# The feature `fast_calls` says whether it is on.
DOCTOR_CHECKS = Hook("DOCTOR_CHECKS", FeatureCheck)
