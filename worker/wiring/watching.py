"""What features do to watch what a process does."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from worker.core.database.database import Database
from worker.core.facts import Observe
from worker.core.features import Hook
from worker.core.foundation.clock import Clock
from worker.core.model.metrics import Series
from worker.lists.traces import NO_TRACES, Traces
from worker.reporting.waits import Wait
from worker.settings.model import Settings

NeedsAPerson = Callable[[], Iterable[Wait]]  # what needs a person now


class Counts(NamedTuple):
    """`add` adds what one process has counted since the last time to what is there. It blocks."""

    add: Callable[[Database, Mapping[Series, float]], None]


class Tracer(NamedTuple):
    """`open` makes what records this process's spans; it may have a thread. `collector`: the address that they go to;
    None: they go nowhere."""

    open: Callable[[], Traces]
    collector: Callable[[], str | None]


class Teller(NamedTuple):
    """`look_of` makes what looks whether there is something to tell, and tells it. Each sweep calls it, and `web` every
    ten seconds."""

    look_of: Callable[[Settings, Database, NeedsAPerson, Clock], Callable[[], object]]


class Observing(Protocol):
    """`targets`: where it hands on what happens, by name. Each has a budget's row, and a connection of the process
    while it is given something."""

    @property
    def targets(self) -> Collection[str]: ...

    @property
    def observe(self) -> Observe:
        """What hears of it, in its transaction."""


class Observer(NamedTuple):
    """`of`: None where these settings have nothing for it."""

    of: Callable[[Settings], Observing | None]


# Where counts are kept. The feature `metrics` keeps them in the database.
COUNTS = Hook("COUNTS", Counts)
# Who records spans. The feature `traces` sends them to a collector.
TRACES = Hook("TRACES", Tracer)
# Who learns what happens to rows. The feature `outbox` writes outgoing events.
OBSERVERS = Hook("OBSERVERS", Observer)
# Who learns what begins, and what ends, to need a person. The feature `alerts` sends it to people.
TELLERS = Hook("TELLERS", Teller)


def observing_of(settings: Settings) -> list[Observing]:
    """Those of all features that have any with these settings."""
    return [observing for one in OBSERVERS.offered() if (observing := one.of(settings)) is not None]


def targets_of(settings: Settings) -> list[str]:
    """To whom features hand on what happens."""
    return [target for one in observing_of(settings) for target in one.targets]


def opened_traces() -> Traces:
    """What records this process's spans. Make it after a fork."""
    return next((tracer.open() for tracer in TRACES.offered()), NO_TRACES)
