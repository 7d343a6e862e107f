"""Measures how many events a second consumers store. The queue is full when they start, and no worker runs."""

import contextlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trials.events.event import written
from trials.events.run import Plan, servers_of, set_up
from trials.events.stories import Signup, requested
from trials.processes import Process, end
from trials.servers import Postgres, until
from trials.stage import Stage


@dataclass(frozen=True)
class Pace:
    """`rate`: events a second, from the first one in the inbox to the last. `work`: the consumers' processor seconds
    for a thousand events, which a busy machine changes less; None if the system does not report them."""

    rate: float
    work: float | None


def measured(plan: Plan) -> Pace:
    """The pace of consumers for requests of new customers."""
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
            until(lambda: scene.stored() > 0, "the first event is stored")
            first, first_at, before = scene.stored(), time.monotonic(), _spent(scene.consumers)
            until(lambda: scene.stored() == plan.events, "all events are stored", plan.patience)
            took, work = time.monotonic() - first_at, _spent(scene.consumers)
            number = plan.events - first
            spent = None if before is None or work is None else (work - before) * 1000 / number
            return Pace(number / took, spent)


def _spent(processes: list[Process]) -> float | None:
    """The processor seconds of these processes so far; None without /proc."""
    total = 0
    for process in processes:
        try:
            text = Path(f"/proc/{process.pid}/stat").read_text()
        except OSError:
            return None
        # After the command's name, which may contain spaces, user and system time are fields 12 and 13.
        fields = text.rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")
