"""What features do beside the rows: in the processes that work (`run`, `up`, the workers) and in each sweep, to watch
what a process does, and on a report that comes back."""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.facts import FactObserver
from onboarding_worker.core.features import NOT_INSTALLED, Hook
from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.model.metrics import Series
from onboarding_worker.lists.traces import Traces
from onboarding_worker.reporting.store.look import Looked
from onboarding_worker.reporting.waits import Wait
from onboarding_worker.settings.model import Settings

if TYPE_CHECKING:
    from onboarding_worker.lists.returned import ReturnedReport
    from onboarding_worker.wiring.container import Parts


class Working(Protocol):
    """Begins nothing before its first step."""

    def step(self) -> None:
        """Begin what it is time for. Returns at once: what takes longer has a thread of its own."""

    def finish(self) -> str:
        """A run is over: do what can be done within some seconds. What is left then, in words; "": nothing. Blocks."""
        return ""

    def close(self) -> None:
        """End. May wait some seconds for what is under way."""


class Woken(Protocol):
    """Work for one name at a time, which any worker may do: the broker brings it a wake-up."""

    def due(self) -> list[str]:
        """The names that have work due. Each sweep sends a wake-up for each."""

    def serve(self, name: str, *, longest: timedelta) -> bool:
        """Work for a name, for about so long; whether more was due then. Blocks."""

    def close(self) -> None: ...


class Work(NamedTuple):
    """`open`: None where the configuration has nothing for it. `in_run`: also in `onboard run`, which works for one
    list and ends. `woken`: what workers have in its place; its second argument says whether the process ends."""

    open: "Callable[[Parts], Working | None]"
    in_run: bool
    woken: "Callable[[Parts, Callable[[], bool]], Woken] | None" = None


# The feature `bounces` reads its mailbox so, `list_sources` looks into folders, and `outbox` publishes events.
WORK = Hook("WORK", Work)


# Called once for each process. What it returns makes the step, in each sweep: it gets what is due.
SweepStep: TypeAlias = "Callable[[Parts], Callable[[Looked], object]]"
# The feature `audit` seals what was added to the log.
SWEEP_STEPS: Hook[SweepStep] = Hook("SWEEP_STEPS")


def opened_work(parts: "Parts", *, in_run: bool = False, in_worker: bool = False) -> list[Working]:
    """The work of all features that have any here. `in_worker`: without that which wake-ups bring."""
    offered = [one for one in WORK.offered() if one.in_run or not in_run]
    here = [one for one in offered if one.woken is None or not in_worker]
    return [working for one in here if (working := one.open(parts)) is not None]


def opened_woken(parts: "Parts", stopping: Callable[[], bool]) -> list[Woken]:
    """What wake-ups bring to a worker."""
    return [one.woken(parts, stopping) for one in WORK.offered() if one.woken is not None]


# Settles the rows of a report: gets one whose rows nothing settles yet.
RETURNED_REPORTS: Hook["Callable[[Parts, ReturnedReport], ReturnedReport]"] = Hook("RETURNED_REPORTS")


def settling(parts: "Parts", report: "ReturnedReport") -> "ReturnedReport":
    """The same report, with what settles its rows. Raises ListRefused where nothing does."""
    from onboarding_worker.lists.lines import ListRefused

    for one in RETURNED_REPORTS.offered():
        return one(parts, report)
    raise ListRefused([f"the file is a report that comes back: {NOT_INSTALLED}"])


class Ticks:
    """Lets something happen at most once in so many seconds in each process, however many wake-ups come."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._next = float("-inf")

    def is_due(self, now: float) -> bool:
        """Whether `begin` would let it happen."""
        with self._lock:
            return now >= self._next

    def begin(self, now: float) -> bool:
        """Whether to do it at `now`, in seconds that no machine's clock changes: monotonic, or the process's time."""
        with self._lock:
            if is_due := now >= self._next:
                self._next = now + self._seconds
            return is_due


class Looks(Working):
    """Looks at most once in so many seconds, and once at a time, in a thread of its own. `ends` is what the look stops
    by, `end_seconds` how long it is waited for then."""

    def __init__(
        self, name: str, look: Callable[[], object], seconds: float, ends: threading.Event, end_seconds: float
    ) -> None:
        self._name, self._look, self._ticks = name, look, Ticks(seconds)
        self._ends, self._end_seconds = ends, end_seconds
        self._thread = threading.Thread()

    def step(self) -> None:
        if not self._ends.is_set() and not self._thread.is_alive() and self._ticks.begin(monotonic()):
            self._thread = threading.Thread(target=self._look, name=self._name, daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._ends.set()
        self.join(self._end_seconds)

    def join(self, seconds: float) -> None:
        if self._thread.is_alive():
            self._thread.join(seconds)


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
