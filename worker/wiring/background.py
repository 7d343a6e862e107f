"""What features do beside the rows: in the processes that work (`run`, `up`, the workers), and on a report that comes
back."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.features import NOT_INSTALLED, Hook

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
