"""Celery's part: wake-ups that go to any process, and the beat that has one of them sweep."""

from typing import TYPE_CHECKING

from onboarding_worker.core.model.wakeups import WakeUp
from trials.simulation.world import START

if TYPE_CHECKING:
    from trials.simulation.play import Simulation

TRAVELS = (0.0, 0.05)
LOST, DOUBLED = 0.05, 0.05  # shares, in the storm
LAG = (0.2, 1.2)  # the beat comes so long after a row is due
LONGEST, LONGEST_IN_STORM = 60.0, 20.0
SWEEPS = 1.0  # after that long, the beat looks at what the sweep has left


class Broker:
    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._world = simulation.world
        self.loses_until = 0.0
        self.nothing_due = False  # as the last beat found
        self._idle_beats = 0
        self._calls_before = 0

    def wake(self, wake_up: WakeUp, for_events: bool) -> None:
        """It may be lost, or come twice: that may change nothing but when the work is done."""
        draw = self._world.chance.random()
        if self._simulation.is_stormy and (draw < LOST or self._world.elapsed < self.loses_until):
            return
        for _ in range(2 if self._simulation.is_stormy and draw > 1 - DOUBLED else 1):
            self._world.later(self._world.chance.uniform(*TRAVELS), self._deliver, wake_up, for_events)

    def _deliver(self, wake_up: WakeUp, for_events: bool) -> None:
        alive = [one for one in self._simulation.running.values() if not one.dead]
        if alive:
            self._world.chance.choice(alive).serve(wake_up, for_events)

    def beat(self) -> None:
        """Have a process sweep. The sweeps of every second that would find nothing due are left out."""
        process = self._simulation.some_process()
        if process is not None and not self._simulation.is_database_away:
            process.sweep()
        self._world.later(SWEEPS, self._plan)

    def _plan(self) -> None:
        calls = len(self._simulation.record.calls)
        worked, self._calls_before = calls != self._calls_before, calls
        self._simulation.look_at_rows()
        due = self._simulation.observer.next_due(self._simulation.plan)
        self.nothing_due = due is None
        ahead = (due - START).total_seconds() - self._world.elapsed if due is not None else LONGEST
        self._simulation.witness.beats(ahead)
        # What is due and cannot be worked now (a pause, a stop) is looked at more and more rarely.
        self._idle_beats = 0 if worked or ahead > 0 else self._idle_beats + 1
        wait = max(ahead, min(2.0 ** min(self._idle_beats, 10) - 1, LONGEST))
        # A request may still come to a machine whose clock is behind, which has nothing to do by that clock.
        if self._simulation.is_stormy or self._simulation.requests.left:
            wait = min(wait, LONGEST_IN_STORM)
        elif self._simulation.people.unfinished:  # a webhook may come: the next sweep applies it
            wait = min(wait, LONGEST)
        self._world.later(wait + self._world.chance.uniform(*LAG), self.beat)
