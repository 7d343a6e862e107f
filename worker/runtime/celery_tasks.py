"""Celery's tasks, and what a worker does at its signals, when it starts and ends. Each task is a wake-up: something is
due, and the database has the rows.

A lost, repeated or reordered wake-up changes when work is done, never what: the sweep sends another. A task names an
account, a channel or a target, and nothing else. What happens with the rows is in the engine, the same for these tasks
and for `onboard run` (docs/inside/architecture.md); outages are in `worker_process`.
"""

import logging
import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

from celery.concurrency.thread import TaskPool as Threads
from celery.signals import (
    celeryd_after_setup,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.runtime import process, worker_process
from onboarding_worker.runtime.celery_app import app
from onboarding_worker.runtime.celery_settings import SWEEP_SECONDS, consumed_by, left_to_others
from onboarding_worker.runtime.worker_process import ready_process, serve, sweep_once, wake_ups
from onboarding_worker.settings.queue_names import INVITE
from onboarding_worker.wiring.background import Ticks

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
REQUEST = "onboarding_worker.runtime.monitoring:Request"
# Sweeps pile up in the broker while no worker runs: at most one in half a tick.
_ticks = Ticks(SWEEP_SECONDS / 2)
# What is noted is when the last one came, to some seconds: `worker_process.SWEEP_IS_LATE` and
# `operation.BEAT_IS_MISSING_AFTER`.
_notes = Ticks(5.0)


@app.task(Request=REQUEST)  # type: ignore[untyped-decorator]
def issue(account: str) -> None:
    """Open the sessions that are due for an account.

    Its dispatcher claims rows under the account's limits, writes down an attempt for each, calls the provider, and
    writes sessions and their invitations.
    """
    serve(WakeUp.issue(account))


@app.task(Request=REQUEST)  # type: ignore[untyped-decorator]
def invite(channel: str) -> None:
    """Send the invitations that are due on a channel: claim, check that the link is fresh, attempt, send, write."""
    serve(WakeUp.invite(channel))


@app.task(Request=REQUEST)  # type: ignore[untyped-decorator]
def tell(target: str) -> None:
    """Publish waiting events to a target."""
    serve(WakeUp.publish(target))


@app.task(Request=REQUEST)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """End the leases of workers that are gone, send wake-ups for what is due, delete what retention drops."""
    if not _ticks.begin(monotonic()):
        return
    with ready_process() as here:
        if here is None:
            return
        if _notes.begin(monotonic()):
            here.parts.processes.note_wake_up(now=here.parts.clock())
        sweep_once(here, send=wake_ups.send)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _in_a_child(**_signal: Any) -> None:
    # Runs in the children of the prefork pool only, and must return at once.
    worker_process.begin(in_a_child=True)


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _begin_here(instance: Any, **_signal: Any) -> None:
    # Before the broker is reached: it may be away, and what is due is worked without it.
    if instance.pool_cls.__module__ != "celery.concurrency.prefork":  # its children begin by themselves
        worker_process.begin()


@worker_ready.connect  # type: ignore[untyped-decorator]
def _look_each_second(sender: Any, **_signal: Any) -> None:
    alive = os.environ.get("ONBOARDING_ALIVE_FILE")

    def look() -> None:
        worker_process.leave_queues_once_outdated(sender)
        if alive:
            Path(alive).touch()

    look()
    sender.timer.call_repeatedly(LOOK_SECONDS, look)


@worker_ready.connect  # type: ignore[untyped-decorator]
def _try_stopped_accounts_again(sender: Any, **_signal: Any) -> None:
    consumed = consumed_by(app)
    worker_process.resume_stopped_accounts(sender.timer, sends=INVITE in consumed)
    if left := left_to_others(consumed):
        log.info("this worker consumes only %s: other workers must consume %s", ", ".join(consumed), left)


@worker_ready.connect  # type: ignore[untyped-decorator]
def end_dispatchers_before_force(sender: Any, **_signal: Any) -> None:
    """Let SIGQUIT end the dispatchers first. With threads, SIGQUIT and each Ctrl-C do the same as SIGTERM.

    On SIGQUIT and at the second Ctrl-C, Celery ends the tasks by force, and stops its pool at once, in the handler. It
    cannot end threads: the worker would die of NotImplementedError with calls in flight and leases not released. And if
    a message is on its way to the threads then, the pool refuses it, and the worker ends as after a failure.
    """
    if isinstance(sender.pool, Threads):
        for number in (signal.SIGQUIT, signal.SIGINT):
            signal.signal(number, signal.getsignal(signal.SIGTERM))
        return
    # Celery waits for `worker_soft_shutdown_timeout` before it sends `worker_shutting_down`.
    celerys_handler = signal.getsignal(signal.SIGQUIT)

    def end(number: int, frame: FrameType | None) -> None:
        process.end_dispatchers()
        if callable(celerys_handler):
            celerys_handler(number, frame)

    signal.signal(signal.SIGQUIT, end)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop(**_signal: Any) -> None:
    # Dispatchers end now, so that a warm shutdown is quick.
    process.end_dispatchers()


@worker_shutdown.connect  # type: ignore[untyped-decorator]
@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _close(**_signal: Any) -> None:
    here = process.forget()
    if here is not None:
        here.close()
