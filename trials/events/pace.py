"""How many events a second consumers take, with the queue full when they start and nobody else at work."""

import contextlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trials.events.run import Plan, servers_of, set_up
from trials.events.stories import Signup, requested
from trials.events.told import written
from trials.processes import Process, end
from trials.servers import Postgres, until
from trials.stage import Stage


@dataclass(frozen=True)
class Pace:
    """`rate`: events a second, from the first that is in the inbox to the last. `work`: seconds of a core that the
    consumers spent on a thousand of them meanwhile, which a busy machine changes less; None where it cannot be told."""

    rate: float
    work: float | None


def measured(plan: Plan) -> Pace:
    """Each event is one new customer's request."""
    began = datetime.now(UTC)  # noqa: TID251 -- the producers' clock
    messages = [written(requested(Signup(index, began))[0], "structured") for index in range(plan.events)]
    with Stage("onboarding-pace-") as stage, contextlib.closing(servers_of(plan, stage)) as broker:
        broker.start(wait=False)
        with Postgres(stage.folder / "postgresql") as postgres:
            scene = set_up(plan, stage, postgres, broker)
            declaring = stage.start("bus")
            until(scene.wire.ready, "the queue is declared")
            end(declaring, patience=30)
            scene.wire.publish(messages)
            for _ in range(plan.consumers):
                scene.start_consumer()
            until(lambda: scene.taken() > 0, "the first is taken")
            first, first_at, before = scene.taken(), time.monotonic(), _spent(scene.consumers)
            until(lambda: scene.taken() == plan.events, "all are taken", plan.patience)
            took, work = time.monotonic() - first_at, _spent(scene.consumers)
            number = plan.events - first
            spent = None if before is None or work is None else (work - before) * 1000 / number
            return Pace(number / took, spent)


def _spent(processes: list[Process]) -> float | None:
    """Seconds of a core that these processes have used so far, as Linux tells."""
    total = 0
    for process in processes:
        try:
            text = Path(f"/proc/{process.pid}/stat").read_text()
        except OSError:
            return None
        # Behind the command's name, which may hold spaces: user and system time are the 12th and 13th.
        fields = text.rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")
