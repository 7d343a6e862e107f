"""What features do to watch what a process does."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from worker.core.database.database import Database
from worker.core.database.facts import Observe
from worker.core.features import Hook
from worker.core.foundation.clock import Clock
from worker.core.model.meters import Series
from worker.core.model.traces import NO_TRACES, Traces
from worker.reporting.attention import Attention
from worker.settings.model import Settings

NeedsAPerson = Callable[[], Iterable[Attention]]  # what needs a person now


@dataclass(frozen=True)
class Counts:
    """`add` adds what one process has counted since the last time to what is there. It blocks."""

    add: Callable[[Database, Mapping[Series, float]], None]


@dataclass(frozen=True)
class Tracer:
    """`open` makes what records this process's spans; it may have a thread. `collector`: the address that they go to;
    None: they go nowhere."""

    open: Callable[[], Traces]
    collector: Callable[[], str | None]


@dataclass(frozen=True)
class Teller:
    """`look_of` makes what looks whether there is something to tell, and tells it. Each sweep calls it, and `web` every
    ten seconds."""

    look_of: Callable[[Settings, Database, NeedsAPerson, Clock], Callable[[], object]]


@dataclass(frozen=True)
class Observer:
    """`of` makes what is told each fact, in its transaction; None: nothing with these settings."""

    of: Callable[[Settings], Observe | None]


# Where counts are kept. The feature `metrics` keeps them in the database.
COUNTS = Hook("COUNTS", Counts)
# Who records spans. The feature `traces` sends them to a collector.
TRACES = Hook("TRACES", Tracer)
# Who is told what happens to rows. The feature `outbox` writes outgoing events.
OBSERVERS = Hook("OBSERVERS", Observer)
# Who is told what begins, and what ends, to need a person. The feature `alerts` tells people.
TELLERS = Hook("TELLERS", Teller)


def observers_of(settings: Settings) -> list[Observe]:
    """Those of all features that have any with these settings."""
    return [observe for one in OBSERVERS.offered() if (observe := one.of(settings)) is not None]


def opened_traces() -> Traces:
    """What records this process's spans. Make it after a fork."""
    return next((tracer.open() for tracer in TRACES.offered()), NO_TRACES)
