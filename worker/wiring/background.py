"""What features do beside the rows, in the processes that work: `run`, `up` and the workers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from worker.core.features import Hook
from worker.wiring.container import Parts


class Working(Protocol):
    """Begins nothing before its first step."""

    def step(self) -> None:
        """Begin what it is time for. Returns at once: what takes longer has a thread of its own."""

    def close(self) -> None:
        """End. May wait some seconds for what is under way."""


@dataclass(frozen=True)
class Work:
    """`open`: None where the configuration has nothing for it. `in_run`: also in `onboard run`, which works for one
    list and ends."""

    open: Callable[[Parts], Working | None]
    in_run: bool


# The feature `bounces` reads its mailbox so, and `list_sources` looks into folders.
WORK = Hook("WORK", Work)


def opened_work(parts: Parts, *, in_run: bool = False) -> list[Working]:
    """The work of all features that have any here."""
    offered = [one for one in WORK.offered() if one.in_run or not in_run]
    return [working for one in offered if (working := one.open(parts)) is not None]
