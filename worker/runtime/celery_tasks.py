"""Celery's tasks. Each is a wake-up: something is due, and the database has the rows.

A lost, repeated or reordered wake-up changes when work is done, never what: the sweep sends another. A task names an
account, a channel or a target, and nothing else. What happens with the rows is in the engine, the same for these tasks
and for `onboard run` (docs/inside/architecture.md); signals are in `celery_signals`, outages in `worker_process`.
"""

from worker.core.foundation.clock import monotonic
from worker.core.model.wakeups import WakeUp
from worker.runtime.celery_app import app
from worker.runtime.celery_settings import SWEEP_SECONDS
from worker.runtime.worker_process import note_wake_up, ready_process, serve, sweep_once, wake_ups
from worker.wiring.background import Ticks

# Sweeps pile up in the broker while no worker runs: at most one in half a tick.
_ticks = Ticks(SWEEP_SECONDS / 2)
# What is noted is when the last one came, to some seconds: `sweeping.SWEEP_IS_LATE`, `operation.BEAT_IS_MISSING_AFTER`.
_notes = Ticks(5.0)


@app.task(name="issue")  # type: ignore[untyped-decorator]
def issue(account: str) -> None:
    """Open the sessions that are due for an account.

    Its dispatcher claims rows under the account's limits, writes down an attempt for each, calls the provider, and
    writes sessions and their invitations.
    """
    serve(WakeUp.issue(account))


@app.task(name="invite")  # type: ignore[untyped-decorator]
def invite(channel: str) -> None:
    """Send the invitations that are due on a channel: claim, check that the link is fresh, attempt, send, write."""
    serve(WakeUp.invite(channel))


@app.task(name="tell")  # type: ignore[untyped-decorator]
def publish(target: str) -> None:
    """Publish waiting events to a target."""
    with ready_process(WakeUp.publish(target)) as here:
        if here is None:
            return
        note_wake_up(here)
        if here.serve_woken(target):
            wake_ups.send(WakeUp.publish(target))


@app.task(name="sweep")  # type: ignore[untyped-decorator]
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
