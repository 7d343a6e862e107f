"""The faults: each kind is a class of its own, and a new kind needs nothing else.

A fault begins at its time. Either `begin` does it, or the fault waits for the first `point` that it `concerns`, and
`strike` does it there. Points: commit.before, commit.after, call.sending, call.arriving, call.served, call.answered.
`host` and `size` (0 to 1) are drawn from the seed; what they mean is the fault's own.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from trials.simulation.records import Kind

if TYPE_CHECKING:
    from trials.simulation.play import Simulation
    from trials.simulation.process import WorkerProcess

KINDS: dict[str, type["Fault"]] = {}
HOUR = 3600.0


@dataclass(frozen=True)
class Fault:
    at: float
    host: int
    size: float
    point: ClassVar[str] = ""
    of_sessions: ClassVar[bool] = False  # strikes a call for a session, no other

    def __init_subclass__(cls) -> None:
        KINDS[cls.__name__] = cls

    def begin(self, simulation: "Simulation") -> None:
        simulation.armed.append(self)

    def concerns(self, call: Any) -> bool:
        return not self.of_sessions or (call is not None and call.kind is Kind.SESSION)

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        """`call` is the Call of a point that has one."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{type(self).__name__} at {self.at:.1f} s, host {self.host}, size {self.size:.2f}"


# A process is killed, and another one starts.


class KillBeforeCommit(Fault):
    point = "commit.before"

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        process.kill()


class KillAfterCommit(KillBeforeCommit):
    point = "commit.after"


class KillBeforeCall(KillBeforeCommit):
    point = "call.sending"


class KillDuringCall(KillBeforeCommit):
    point = "call.served"


class KillAfterAnswer(KillBeforeCommit):
    point = "call.answered"


class KillAtOnce(Fault):
    def begin(self, simulation: "Simulation") -> None:
        simulation.kill(self.host)


# A process stands still, or its clock is wrong.


class Freeze(Fault):
    """SIGSTOP, for less or more than a lease; clocks and connections go on."""

    def begin(self, simulation: "Simulation") -> None:
        simulation.freeze(self.host, 1 + 45 * self.size)


class FreezeDuringCall(Fault):
    point, of_sessions = "call.served", True

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        simulation.freeze(self.host, 1 + 45 * self.size)


class FreezeAfterCommit(Fault):
    point = "commit.after"

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        simulation.freeze(process.host.number, 1 + 45 * self.size)


class PauseMachine(Fault):
    """The machine is paused with all its clocks, and goes on with them behind."""

    def begin(self, simulation: "Simulation") -> None:
        simulation.freeze(self.host, 16 + 45 * self.size, clocks_too=True)


class PauseMachineAfterCommit(Fault):
    point = "commit.after"

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        simulation.freeze(process.host.number, 16 + 45 * self.size, clocks_too=True)


class StepClock(Fault):
    """The wall clock is set, up to an hour wrong, and is put right after up to 20 s."""

    def begin(self, simulation: "Simulation") -> None:
        step = HOUR if self.size < 0.5 else -HOUR
        simulation.step_clock(self.host, step * (0.02 + self.size % 0.5 * 2))
        simulation.world.later(20 * self.size, simulation.step_clock, self.host, 0.0)


# Calls go wrong.


class LoseAnswer(Fault):
    """The call is carried out, and its answer is lost: the connection hangs, or breaks."""

    point = "call.served"

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        simulation.wire.lose(call, breaks=self.size < 0.5)


class LoseRequest(Fault):
    """The call is never carried out, and nobody is told."""

    point = "call.arriving"

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        simulation.wire.lose(call, breaks=self.size < 0.5)


class DelayRequest(Fault):
    point = "call.sending"

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        simulation.wire.delay(call, 4.5 * self.size)


class DelayAnswer(Fault):
    """The answer comes late, or after the time-out."""

    point = "call.served"

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        simulation.wire.delay(call, 8 * self.size)


class RefuseConnections(Fault):
    def begin(self, simulation: "Simulation") -> None:
        simulation.wire.refuses_until = simulation.world.elapsed + 1 + 10 * self.size


class TooMany(Fault):
    """429, with a Retry-After or without."""

    point, of_sessions = "call.arriving", True

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        simulation.wire.refuse(call, 429, retry_after=None if self.size < 0.3 else int(1 + 20 * self.size))


class WrongCredentials(Fault):
    """401 for every call, for some seconds or for some minutes."""

    def begin(self, simulation: "Simulation") -> None:
        simulation.wire.unauthorized_until = simulation.world.elapsed + (10 if self.size < 0.5 else 400 * self.size)


class ServerErrors(Fault):
    def begin(self, simulation: "Simulation") -> None:
        simulation.wire.fails_until = simulation.world.elapsed + 1 + 5 * self.size


class UnstorableAnswer(Fault):
    """The session is opened, and its answer has text that no database stores."""

    point, of_sessions = "call.served", True

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        simulation.wire.spoil(call)


# The database, the queue, and what is in the rows.


class Outage(Fault):
    def begin(self, simulation: "Simulation") -> None:
        simulation.database_away(1 + 30 * self.size)


class LoseCommit(Fault):
    """The connection breaks at a commit: the database made the commit or did not, and the worker cannot know."""

    @property
    def point(self) -> str:  # type: ignore[override]
        return "commit.before" if self.size < 0.5 else "commit.after"

    def strike(self, simulation: "Simulation", process: "WorkerProcess", call: Any) -> None:
        process.break_connection()


class LoseWakeUps(Fault):
    def begin(self, simulation: "Simulation") -> None:
        simulation.broker.loses_until = simulation.world.elapsed + 30 * self.size


class SpoilRow(Fault):
    """A customer's row that no release can read."""

    def begin(self, simulation: "Simulation") -> None:
        simulation.spoil_row(int(self.size * len(simulation.plan.people)))
