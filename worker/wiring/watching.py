"""What features watch: what a process does, what happens to rows, and what needs a person."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.facts import FactObserver
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.core.model.metrics import Series
from onboarding_worker.lists.traces import Traces
from onboarding_worker.reporting.waits import Wait
from onboarding_worker.settings.model import Settings

NeedsAPerson = Callable[[], Iterable[Wait]]  # what needs a person now


class Tracer(NamedTuple):
    """`open` makes what records this process's spans; it may have a thread. `collector`: the address that they go to;
    None: they go nowhere."""

    open: Callable[[], Traces]
    collector: Callable[[], str | None]


class Observing(FactObserver, Protocol):
    """`targets`: where it hands on what happens, by name. Each has a budget's row, and a connection of the process
    while it is given something."""

    @property
    def targets(self) -> Collection[str]: ...


# Adds what one process has counted since the last time to what is there; blocks. The feature `metrics` keeps counts in
# the database.
COUNTS: Hook[Callable[[Database, Mapping[Series, float]], None]] = Hook("COUNTS")
# Who records spans. The feature `traces` sends them to a collector.
TRACES = Hook("TRACES", Tracer)
# Who learns what happens to rows; None where these settings have nothing for it. The feature `outbox` writes outgoing
# events.
OBSERVERS: Hook[Callable[[Settings], Observing | None]] = Hook("OBSERVERS")
# Makes what looks whether something begins, or ends, to need a person, and tells it: each sweep calls that, and `web`
# every ten seconds. The feature `alerts` sends it to people.
TELLERS: Hook[Callable[[Settings, Database, NeedsAPerson, Clock], Callable[[], object]]] = Hook("TELLERS")


def observing_of(settings: Settings) -> list[Observing]:
    """Those of all features that have any with these settings."""
    return [observing for one in OBSERVERS.offered() if (observing := one(settings)) is not None]


def targets_of(settings: Settings) -> list[str]:
    """To whom features hand on what happens."""
    return [target for one in observing_of(settings) for target in one.targets]
