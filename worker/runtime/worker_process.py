"""The process of a Celery worker: made when the database is ready, and idle while the database cannot be used.

A worker, or each child of the prefork pool, has one `Process` with a loop of its own. No outage ends it: the sweep
sends the wake-ups again that were lost meanwhile.
"""

import logging
import mmap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.database.schema import NotReady, Outdated
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.wakeups import Wake, WakeUp, WorkStep
from onboarding_worker.http import event_loop
from onboarding_worker.reporting.store.processes import BEAT, is_younger
from onboarding_worker.runtime import process
from onboarding_worker.runtime.celery_app import app
from onboarding_worker.runtime.celery_settings import QUEUE_OF, consumed_by
from onboarding_worker.runtime.process import Process
from onboarding_worker.runtime.wakeups import BackgroundSender, send_through
from onboarding_worker.settings.load import load
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring.background import Ticks
from onboarding_worker.wiring.opening import opened
from onboarding_worker.wiring.runner import LONGEST_DISPATCH, STAY, prove_senders
from onboarding_worker.wiring.sweep import Sweep

# The scheduler wakes a sweep each second. Each worker looks for due work by itself once none came for so long.
SWEEP_IS_LATE = timedelta(seconds=10)

log = logging.getLogger(__name__)
# A child of the prefork pool runs one dispatcher at a time: other accounts must not wait long.
LONGEST_DISPATCH_OF_A_CHILD = timedelta(seconds=5)
# How much longer than its dispatch a task may take: for the last calls and their flush. A dispatcher that waits for the
# database goes on without its task, so that the task's thread can accept the wake-ups that this worker has prefetched.
# RabbitMQ would otherwise close the channel after its `consumer_timeout`.
AFTER_DISPATCH = timedelta(seconds=30)
# Wake-ups come faster than an unreachable database fails: each process tries once in this many seconds.
TRY_SECONDS = 2.0
# How often a worker that started before its database tries to resume stopped accounts.
RESUME_SECONDS = 10.0
wake_ups = BackgroundSender(partial(send_through, app))
_is_child = False
# One byte, shared with the children forked from this process: whether the worker leaves its queues.
_leaving = mmap.mmap(-1, 1)
_idle = Outage(log)
_alone = Outage(log, logging.WARNING)
# What is noted is when the last wake-up came, to some seconds: `operation.WAKE_UPS_MISSING_AFTER`.
_notes = Ticks(5.0)
# The kinds of steps that need the database, besides those of wake-ups.
SWEEPING, MAKING, RESUMING = "sweep", "make", "resume"
READY = "the database is ready: the worker claims rows"


def sweep_once(here: Process, *, send: Wake, whole: bool = True) -> None:
    """As `Sweep.once`, with what features have to do."""
    work = [one.step for one in here.work] if whole else []
    Sweep(here.parts).once(send, partial(_wake_for_features, here, send), *work, whole=whole)


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


def _wake_for_features(here: Process, send: Wake) -> None:
    for one in here.woken:
        for name in one.due():
            send(WakeUp.publish(name))


class Tries:
    """Spaces the tries of a process that is not ready, however many wake-ups come. Not thread-safe."""

    def __init__(self) -> None:
        self._failed: NotReady | SettingsError | None = None
        self._next = 0.0

    def begin(self, now: float) -> None:
        """Raises the last try's error again for a while. `now` is in monotonic seconds."""
        if self._failed is not None and (now < self._next or isinstance(self._failed, Outdated)):
            raise self._failed

    def failed(self, error: NotReady | SettingsError, now: float) -> None:
        self._failed, self._next = error, now + TRY_SECONDS


_tries = Tries()


def serve(wake_up: WakeUp) -> None:
    """Work what is due for an account, a channel or a target, and send another wake-up if more is due."""
    with ready_process(wake_up) as here:
        if here is None:
            return
        if _notes.begin(monotonic()):  # that the broker has brought a wake-up that is not the scheduler's
            here.parts.processes.note_wake_up(now=here.parts.clock(), scheduled=False)
        if wake_up.step is WorkStep.PUBLISH:
            more = here.serve_woken(wake_up.name)
        else:
            more = here.serve(wake_up, at_most=longest_dispatch() + AFTER_DISPATCH)
        if more:
            wake_ups.send(wake_up)


def woken_here(wake_up: WakeUp | None) -> bool:
    """Have a running dispatcher of this process look again, and without a task: that would take longer than the rest.
    False: the wake-up needs a task, because no dispatcher runs for it here, or its coming is to be noted."""
    here = process.existing()
    return wake_up is not None and here is not None and not _notes.is_due(monotonic()) and here.wake_here(wake_up)


@contextmanager
def ready_process(wake_up: WakeUp | None = None) -> Iterator[Process | None]:
    """This process's `Process`, for work on this wake-up, or for the sweep; None while the database is not ready. If
    the database cannot be used inside the block, the wake-up is lost, not the work: the next sweep tries again."""
    step = SWEEPING if wake_up is None else wake_up.step.value
    here = _process()
    if here is None:
        yield None
        return
    try:
        yield here
    except sa.exc.OperationalError as error:
        _idle.lasts("worker idle: the database cannot be used", monotonic(), why=reason(error), step=step)
    else:
        # A wake-up for a dispatcher that runs, or goes on running without its task, has shown nothing.
        if wake_up is None or not here.runner.is_working(wake_up):
            _idle.over("the database is back: the worker claims rows", monotonic(), step=step)


def longest_dispatch() -> timedelta:
    return LONGEST_DISPATCH_OF_A_CHILD if _is_child else LONGEST_DISPATCH


def resume_stopped_accounts(timer: Any, *, sends: bool) -> None:
    """Let stopped accounts be tried again. `timer` is Celery's: it calls this again while the database is not ready.

    A worker that `sends` messages logs in to its senders first: no session is opened for a sender that does not work.
    Once for each worker, in its parent, on connections that are closed again: children are forked later.
    """
    try:
        with opened(load()) as parts:
            parts.resume(None if sends else ())
            if sends:
                event_loop.run(prove_senders(parts))
    except (NotReady, SettingsError) as error:
        _log_not_ready(error, RESUMING)
        if not isinstance(error, Outdated):
            timer.call_after(RESUME_SECONDS, partial(resume_stopped_accounts, timer, sends=sends))
    else:
        _idle.over(READY, monotonic(), step=RESUMING)


def begin(*, in_a_child: bool = False) -> None:
    """Make this process's `Process` soon, in a thread, without a wake-up: without a scheduler none comes. `in_a_child`:
    this process is one of the prefork pool."""
    global _is_child
    _is_child = in_a_child

    def make() -> None:
        while _process() is None and not process.is_ending():
            time.sleep(TRY_SECONDS)

    threading.Thread(target=make, name="begin", daemon=True).start()


def _process() -> Process | None:
    try:
        return process.current(_make)
    except (NotReady, SettingsError) as error:
        _log_not_ready(error, MAKING)
        if isinstance(error, Outdated):
            _leaving[0] = 1
        return None


def _log_not_ready(error: NotReady | SettingsError, step: str) -> None:
    what, why = (error.what, error.why) if isinstance(error, NotReady) else (str(error), "")
    _idle.lasts(f"worker idle: {what}", monotonic(), why=why, step=step)


def _make() -> Process:
    _tries.begin(monotonic())
    try:
        made = Process(
            wake_invite=_wake_invite,
            longest=longest_dispatch(),
            stay=timedelta(0) if _is_child else STAY,  # a child works one account at a time
            wake_others=_wake_others,
            on_outdated=_outdated,
            look=_look_without_wake_ups,
        )
    except (NotReady, SettingsError) as error:
        _tries.failed(error, monotonic())
        raise
    _idle.over(READY, monotonic(), step=MAKING)
    return made


def _look_without_wake_ups(here: Process) -> None:
    if sweep_alone(here, begin=partial(_begin_here, here)):
        _alone.lasts("no wake-up of the scheduler comes: this worker looks for due work by itself", monotonic())
    else:
        _alone.over("the scheduler's wake-ups come again")


def _begin_here(here: Process, wake_up: WakeUp) -> None:
    """Work what is due in this process, if it is of a queue that this worker consumes. A wake-up is sent too: if one
    comes, the broker works, and it is the scheduler that is missing."""
    if QUEUE_OF[wake_up.step] in consumed_by(app):
        here.begin(wake_up)
    wake_ups.send(wake_up)


def _wake_invite(wake_up: WakeUp, for_events: bool) -> None:
    """Wake this process's dispatcher of a channel, if it runs, else any worker."""
    here = process.existing()
    if here is None or not here.wake_here(wake_up, for_events=for_events):
        wake_ups.send(wake_up)


def _wake_others(wake_up: WakeUp) -> None:
    """Hand a wake-up on: a broker gives it to the worker that has waited longest, which hands it on in turn.

    Without this each worker would wait for a sweep of its own. A child works one account at a time: all children would
    go to one account.
    """
    if not _is_child:
        wake_ups.send(wake_up)


def _outdated(why: str) -> None:
    log.error("draining: finishing calls in flight, claiming no more work: %s", why)
    _leaving[0] = 1


def leave_queues_once_outdated(consumer: Any) -> None:
    """Leave the queues to workers of the newer release. This worker stays: if it ended, it would be started again."""
    if _leaving[0]:
        for queue in list(app.amqp.queues.consume_from):
            consumer.call_soon(consumer.cancel_task_queue, queue)
