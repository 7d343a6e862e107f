"""Celery's tasks. All but one are wake-ups: something is due, and the database has the rows.

A lost, repeated or reordered wake-up changes when work is done, never what: the sweep sends another. The other task,
`onboarding.request`, brings an event of another project; until the worker has stored it, only the message has it.
"""

import json
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import Any

import sqlalchemy as sa
from amqp.exceptions import PreconditionFailed
from celery.exceptions import Reject
from celery.signals import (
    celeryd_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from kombu.entity import Queue

from worker.domain.events import cloudevents as envelopes
from worker.domain.events.cloudevents import Unreadable
from worker.domain.events.incoming import Event, EventKind, Outcome, Receipt
from worker.domain.model.wakeups import WakeUp
from worker.engine.opening import NotReady, Outdated, opened
from worker.engine.outbox_targets import unpublished_in_words
from worker.engine.runner import LONGEST_DISPATCH
from worker.foundation.clock import monotonic, system_clock
from worker.foundation.outage_log import Outage
from worker.foundation.timestamps import written
from worker.publishers.build import build_targets
from worker.runtime import process
from worker.runtime.celery_app import app
from worker.runtime.celery_settings import (
    CONFIRM_SECONDS,
    INVITE,
    ISSUE,
    PUBLISH,
    QUEUES,
    REQUEST,
    REQUESTS,
    SWEEP,
    SWEEP_SECONDS,
    left_to_others,
    refused_requests,
)
from worker.runtime.process import Process
from worker.runtime.wakeups import BROKER_UNREACHABLE, BackgroundSender, send_through
from worker.settings import SettingsError, load
from worker.store.base.database import reason

log = logging.getLogger(__name__)
# A child of the prefork pool runs one dispatcher at a time: other accounts must not wait long.
LONGEST_DISPATCH_OF_A_CHILD = timedelta(seconds=5)
# Wake-ups come faster than an unreachable database fails: each process tries once in this many seconds.
TRY_SECONDS = 2.0
MOST_REASON = 2000  # characters: each column of a row may have a problem
# How often a worker that started before its database tries to resume stopped accounts.
RESUME_SECONDS = 10.0
_is_child = False
_wake_ups = BackgroundSender(partial(send_through, app))
_node: str | None = None  # Celery's name of this worker
_not_ready = Outage(log)
_database = Outage(log)
_unpublished = Outage(log, logging.WARNING)


class Ticks:
    """Lets something happen at most once in so many seconds in each process, however many wake-ups come."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._next: float | None = None

    def begin(self, now: float) -> bool:
        """Whether to do it at `now`, in monotonic seconds, which no machine's clock changes."""
        with self._lock:
            if self._next is not None and now < self._next:
                return False
            self._next = now + self._seconds
            return True


# Sweeps pile up in the broker while no worker runs: at most one in half a tick.
_ticks = Ticks(SWEEP_SECONDS / 2)
_looks_for_unpublished = Ticks(60.0)


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


@app.task(name="issue", queue=ISSUE, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def issue(account: str) -> None:
    """Open the sessions that are due for an account."""
    _serve(WakeUp.issue(account))


@app.task(name="invite", queue=INVITE, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def invite(channel: str) -> None:
    """Send the invitations that are due on a channel."""
    _serve(WakeUp.invite(channel))


@app.task(name="tell", queue=PUBLISH, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def publish(target: str) -> None:
    """Publish waiting events to a target."""
    here = _process()
    if here is None:
        return
    with _idle_without_database():
        if here.publisher.publish(target, longest=_longest_dispatch()):
            _wake_ups.send(WakeUp.publish(target))


@app.task(name="sweep", queue=SWEEP, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Return the leases of workers that are gone, send wake-ups for what is due, delete what retention drops."""
    if not _ticks.begin(monotonic()):
        return
    here = _process()
    if here is None:
        return
    with _idle_without_database():
        timer, outbox = here.parts.sweep, here.parts.outbox_targets
        timer.return_leases()
        timer.look_after()
        for wake_up in timer.due_wake_ups():
            _wake_ups.send(wake_up)
        targets = outbox.due()
        for target in targets:
            _wake_ups.send(WakeUp.publish(target))
        if _looks_for_unpublished.begin(monotonic()):
            _log_unpublished(outbox.unpublished() if targets else [])
        here.retention.step()  # after the wake-ups: no customer waits for it


def _log_unpublished(targets: list[str]) -> None:
    if targets:
        _unpublished.lasts(f"{unpublished_in_words(targets)}: does a worker consume the queue {PUBLISH}?", monotonic())
    else:
        _unpublished.over("events are published again")


@app.task(name=REQUEST, queue=REQUESTS, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def request(event: Any) -> None:
    """Store an event that another project sent as a task: a CloudEvent as an object, or the data of a request alone.

    The task is acknowledged once the event is stored, or is kept in the queue of refused requests with the reason.
    While the database or the broker cannot be reached, the task waits; a worker that ends meanwhile returns it.
    """
    body = json.dumps(event).encode()
    found = envelopes.read(body, content_type="application/json", attributes={}, plain=EventKind.REQUESTED)
    while not (_keep_refused(body, found.reason) if isinstance(found, Unreadable) else _stored(found, body)):
        if process.is_ending():
            raise Reject("the worker ends", requeue=True)
        time.sleep(TRY_SECONDS)


def _stored(event: Event, body: bytes) -> bool:
    """Whether the event is settled: stored, or kept in the queue of refused requests."""
    here = _process()
    if here is None:
        return False
    receipt: Receipt | None = None
    with _idle_without_database():
        try:
            received = here.receiver.receive([event])
        except sa.exc.OperationalError:
            raise
        except Exception as error:  # a bug must not lose an event that only this message has
            log.error("storing a request ended with %s", type(error).__name__)
            return _keep_refused(body, f"the worker failed with {type(error).__name__}")
        (receipt,) = received.receipts
        for wake_up in received.due:
            _wake_ups.send(wake_up)
    if receipt is None or receipt.outcome is not Outcome.REFUSED:
        return receipt is not None
    problems = [f"{one.column}: {one.problem}" if one.column else one.problem for one in receipt.problems]
    return _keep_refused(body, "; ".join([receipt.reason, *problems]))


def _keep_refused(body: bytes, reason: str) -> bool:
    """Put a refused request into its queue, for a person; whether the broker took it. The reason holds no value."""
    queue = refused_requests(str(app.conf.broker_url))
    try:
        with app.producer_pool.acquire(block=True) as producer:
            _declare(producer.connection, queue)
            producer.publish(
                body,
                exchange=queue.exchange,
                routing_key=queue.routing_key,
                content_type="application/json",
                content_encoding="utf-8",
                headers={"x-reason": reason[:MOST_REASON], "x-refused-at": written(system_clock())},
                delivery_mode=2,
                retry=False,
                confirm_timeout=CONFIRM_SECONDS,
            )
    except BROKER_UNREACHABLE as error:
        log.warning(
            "the broker cannot be reached (%s): a refused request is kept when the broker is back", type(error).__name__
        )
        return False
    log.error(
        "a request was refused and is kept in the queue %s: %s; see `onboard bus dead list`",
        queue.name,
        reason[:MOST_REASON],
    )
    return True


def _declare(connection: Any, queue: Queue) -> None:
    """Make the queue if it is missing. A queue with other arguments is used as it is."""
    try:
        with connection.channel() as channel:
            queue.bind(channel).declare()  # type: ignore[no-untyped-call]
    except PreconditionFailed:
        log.debug("the queue %s exists with other arguments", queue.name)


def wake_invite(channel: str, for_events: bool) -> None:
    """Wake this process's dispatcher of a channel, if it runs, else any worker."""
    here, wake_up = process.existing(), WakeUp.invite(channel)
    if here is None or not here.wake_here(wake_up, for_events=for_events):
        _wake_ups.send(wake_up)


def _serve(wake_up: WakeUp) -> None:
    here = _process()
    if here is None:
        return
    with _idle_without_database():
        if here.wait_for(here.runner.serve(wake_up)):
            _wake_ups.send(wake_up)


@contextmanager
def _idle_without_database() -> Iterator[None]:
    # The wake-up is lost, not the work: the next sweep tries again.
    try:
        yield
    except sa.exc.OperationalError as error:
        _database.lasts(f"worker idle: the database cannot be reached: {reason(error)}", monotonic())
    else:
        _database.over("the database is back: the worker claims rows")


def _process() -> Process | None:
    try:
        here = process.current(_make)
    except (NotReady, SettingsError) as error:
        _not_ready.lasts(f"worker idle: {error}", monotonic())
        if isinstance(error, Outdated):
            _stop_consuming()
        return None
    _not_ready.over("the database is ready: the worker claims rows")
    return here


def _make() -> Process:
    _tries.begin(monotonic())
    try:
        return Process(
            wake_invite=wake_invite, longest=_longest_dispatch(), on_outdated=_outdated, targets=build_targets
        )
    except (NotReady, SettingsError) as error:
        _tries.failed(error, monotonic())
        raise


def _longest_dispatch() -> timedelta:
    return LONGEST_DISPATCH_OF_A_CHILD if _is_child else LONGEST_DISPATCH


def _outdated(why: str) -> None:
    log.error("draining: finishing calls in flight, claiming no more work: %s", why)
    _stop_consuming()


def _stop_consuming() -> None:
    """Leave the queues to workers of the newer release. This worker stays: if it ended, it would be started again."""
    if _node is None:
        return
    try:
        for queue in QUEUES:
            app.control.cancel_consumer(queue, destination=[_node])
    except BROKER_UNREACHABLE as error:
        log.warning(
            "the broker cannot be reached (%s): the worker goes on consuming its queues, and does no work",
            type(error).__name__,
        )


@celeryd_init.connect  # type: ignore[untyped-decorator]
def _remember_the_name(sender: str, **_signal: Any) -> None:
    global _node
    _node = sender


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _in_a_child(**_signal: Any) -> None:
    # Runs in the children of the prefork pool only, and must return at once: the first wake-up makes the loop.
    global _is_child
    _is_child = True


@worker_ready.connect  # type: ignore[untyped-decorator]
def _try_stopped_accounts_again(sender: Any, **_signal: Any) -> None:
    # Once for each worker, in its parent, on connections that are closed again: children are forked later.
    try:
        with opened(load()) as parts:
            parts.resume()
    except (NotReady, SettingsError) as error:
        _not_ready.lasts(f"worker idle: {error}", monotonic())
        if not isinstance(error, Outdated):
            sender.timer.call_after(RESUME_SECONDS, partial(_try_stopped_accounts_again, sender))
    else:
        _not_ready.over("the database is ready: the worker claims rows")


@worker_ready.connect  # type: ignore[untyped-decorator]
def _log_queues_left_to_others(**_signal: Any) -> None:
    consumed = list(app.amqp.queues.consume_from)
    if left := left_to_others(consumed):
        log.info("this worker consumes only %s: other workers must consume %s", ", ".join(consumed), left)


@worker_ready.connect  # type: ignore[untyped-decorator]
def _end_dispatchers_before_force(**_signal: Any) -> None:
    # Celery waits (on prefork, `worker_soft_shutdown_timeout`) before it sends `worker_shutting_down`.
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
