"""Celery's tasks: doorbells. They say that something is due; the database says what.

Losing, doubling or reordering any of them changes when work happens, never what: the sweep rings again.
"""

import logging
import threading
from datetime import timedelta
from typing import Any

from celery.signals import (
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from worker import process
from worker.app import app
from worker.bells import ring
from worker.celery_settings import INVITE, ISSUE, SWEEP, SWEEP_SECONDS
from worker.clock import monotonic
from worker.process import NotReady, Process, opened
from worker.runner import LONGEST_SHIFT
from worker.settings import SettingsError, load
from worker.sweep import return_leases, ringable, take_over

log = logging.getLogger(__name__)
# A child of the prefork pool works one shift at a time: another account must not wait long for its turn.
LONGEST_SHIFT_OF_A_CHILD = timedelta(seconds=5)
_is_child = False


class Ticks:
    """Thins out sweeps that piled up in the broker while no worker ran: one in half a tick, for each process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: float | None = None

    def begin(self, now: float) -> bool:
        """Whether to sweep at `now`, in monotonic seconds: other machines' clocks have no say."""
        with self._lock:
            if self._next is not None and now < self._next:
                return False
            self._next = now + SWEEP_SECONDS / 2
            return True


_ticks = Ticks()


@app.task(name="issue", queue=ISSUE, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def issue(account: str) -> None:
    """Ask for the sessions that are due for an account."""
    _serve(f"issue:{account}", lambda: ring(ISSUE, account))


@app.task(name="invite", queue=INVITE, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def invite(channel: str) -> None:
    """Send the invitations that are due on a channel."""
    _serve(f"invite:{channel}", lambda: ring(INVITE, channel))


@app.task(name="sweep", queue=SWEEP, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Give back the leases of workers that are gone, and ring for what is due."""
    if not _ticks.begin(monotonic()):
        return
    here = _process()
    if here is None:
        return
    return_leases(here.parts)
    take_over(here.parts)
    for step, name in ringable(here.parts):
        ring(step, name)


def ring_invite(channel: str) -> None:
    """Say that invitations are due: to this process's shift if it is at it, else to any worker."""
    here = process.existing()
    if here is None or not here.ring_here(f"{INVITE}:{channel}"):
        ring(INVITE, channel)


def _serve(key: str, ring_again: Any) -> None:
    here = _process()
    if here is not None and here.wait_for(here.runner.serve(key)):
        ring_again()


def _process() -> Process | None:
    try:
        return process.current(_make)
    except (NotReady, SettingsError) as error:
        # The bell is lost, not the work: the next tick of the sweep tries again.
        log.error("nothing is taken: %s", error)
        return None


def _make() -> Process:
    return Process(ring_invite=ring_invite, longest=LONGEST_SHIFT_OF_A_CHILD if _is_child else LONGEST_SHIFT)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _in_a_child(**_signal: Any) -> None:
    # Fires in the children of the prefork pool alone, and must return at once: the loop is made at the first bell.
    global _is_child
    _is_child = True


@worker_ready.connect  # type: ignore[untyped-decorator]
def _try_stopped_accounts_again(**_signal: Any) -> None:
    # Once for a worker, in its parent, on connections that are closed again: children are forked from it later.
    try:
        with opened(load()) as parts:
            parts.resume()
    except (NotReady, SettingsError) as error:
        log.error("stopped accounts were not tried again: %s", error)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop(**_signal: Any) -> None:
    # With threads this is the working process: end the shifts now, so that a warm shutdown is quick.
    here = process.existing()
    if here is not None:
        here.stop()


@worker_shutdown.connect  # type: ignore[untyped-decorator]
@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _close(**_signal: Any) -> None:
    here = process.forget()
    if here is not None:
        here.close()
