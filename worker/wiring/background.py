"""What features do beside the rows, in the processes that work: `run`, `up` and the workers, and in each sweep; and who
acts on a report that comes back."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from worker.core.database.database import Database
from worker.core.features import Hook
from worker.core.foundation.clock import monotonic
from worker.reporting.store.look import Looked
from worker.wiring.container import Parts

if TYPE_CHECKING:
    from worker.lists.lines import Settles
    from worker.lists.options import ListOptions


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

    open: Callable[[Parts], Working | None]
    in_run: bool
    woken: Callable[[Parts, Callable[[], bool]], Woken] | None = None


# The feature `bounces` reads its mailbox so, `list_sources` looks into folders, and `outbox` publishes events.
WORK = Hook("WORK", Work)


class SweepStep(NamedTuple):
    """`open` is called once for each process. What it returns makes the step, in each sweep: it gets what is due."""

    open: Callable[[Parts], Callable[[Looked], object]]


# The feature `audit` seals what was added to the log.
SWEEP_STEPS = Hook("SWEEP_STEPS", SweepStep)


def opened_work(parts: Parts, *, in_run: bool = False, in_worker: bool = False) -> list[Working]:
    """The work of all features that have any here. `in_worker`: without that which wake-ups bring."""
    offered = [one for one in WORK.offered() if one.in_run or not in_run]
    here = [one for one in offered if one.woken is None or not in_worker]
    return [working for one in here if (working := one.open(parts)) is not None]


def opened_woken(parts: Parts, stopping: Callable[[], bool]) -> list[Woken]:
    """What wake-ups bring to a worker."""
    return [one.woken(parts, stopping) for one in WORK.offered() if one.woken is not None]


@dataclass(frozen=True, kw_only=True)
class Report:
    """`database`: whose changes the audit log ascribes to who gave the report. `another_person`: a row may leave
    nothing of the person who is stored."""

    name: str
    options: "ListOptions"
    database: Database
    another_person: bool = False


class ReturnedReports(NamedTuple):
    settles: "Callable[[Parts, Report], Settles]"


# The feature `service_desk` corrects what a person has changed, as it does for one customer.
RETURNED_REPORTS = Hook("RETURNED_REPORTS", ReturnedReports)


def settles(parts: Parts, report: Report) -> "Settles":
    """What says what the rows of this report become. Loaded for reports alone: few lists are."""
    from worker.lists.lines import Refusing

    return next((one.settles(parts, report) for one in RETURNED_REPORTS.offered()), Refusing())


class Ticks:
    """Lets something happen at most once in so many seconds in each process, however many wake-ups come."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._next: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether `begin` would let it happen."""
        with self._lock:
            return self._next is None or now >= self._next

    def begin(self, now: float) -> bool:
        """Whether to do it at `now`, in seconds that no machine's clock changes: monotonic, or the process's time."""
        with self._lock:
            if self._next is not None and now < self._next:
                return False
            self._next = now + self._seconds
            return True


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
