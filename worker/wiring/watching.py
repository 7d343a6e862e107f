"""What features do to watch a process from outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from worker.core.database.database import Database
from worker.core.features import Hook
from worker.core.model.meters import Series


@dataclass(frozen=True)
class Counts:
    """`add` adds what one process has counted since the last time to what is there. It blocks."""

    add: Callable[[Database, Mapping[Series, float]], None]


# Where counts are kept. The feature `metrics` keeps them in the database.
COUNTS = Hook("COUNTS", Counts)
