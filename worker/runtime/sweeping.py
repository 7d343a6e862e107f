"""One sweep of a Celery worker: what the scheduler's wake-up starts, and a worker itself while none comes."""

from datetime import timedelta
from functools import partial

from worker.core.model.wakeups import Wake, WakeUp
from worker.reporting.store.look import Looked
from worker.reporting.store.processes import BEAT, is_younger
from worker.runtime.process import Process
from worker.wiring.sweep import Sweep, each_alone

# The scheduler wakes a sweep each second. Each worker looks for due work by itself once none came for so long.
SWEEP_IS_LATE = timedelta(seconds=10)


def sweep_once(here: Process, *, send: Wake, whole: bool = True) -> None:
    """Wake what is due, end the leases of workers that are gone, and do the rest of the timer's work.

    Not `whole`: only wake what is due.
    """
    timer = here.parts.sweep
    looked = timer.look()
    wake, tell = partial(_wake_for, timer, looked, send), partial(_wake_for_features, here, send)
    steps = timer.steps(looked, wake=send) if whole else ()
    work = (one.step for one in here.work) if whole else ()
    each_alone(wake, tell, *steps, *work)  # wake-ups first: customers wait for them


def sweep_alone(here: Process, *, begin: Wake) -> bool:
    """Look for due work, if no wake-up of the scheduler came to any worker for a while; whether that is so.

    The database knows it, whatever the broker does: it may have lost them, or take none. Each worker `begin`s what is
    due in this process; one of them at a time does the rest of the timer's work.
    """
    now = here.parts.clock()
    if is_younger(here.parts.database, BEAT, than=SWEEP_IS_LATE, now=now):
        return False
    sweep_once(here, send=begin, whole=here.parts.processes.claim_sweep(older_than=SWEEP_IS_LATE, now=now))
    return True


def _wake_for(timer: Sweep, looked: Looked, send: Wake) -> None:
    for wake_up in timer.due_wake_ups(looked):
        send(wake_up)


def _wake_for_features(here: Process, send: Wake) -> None:
    for one in here.woken:
        for name in one.due():
            send(WakeUp.publish(name))
