"""Celery's tasks: doorbells. They say that something is due; the database says what.

Losing, doubling or reordering any of them changes when work happens, never what: the sweep rings again. One is no bell:
`onboarding.request` brings an event of another project, which is in the message alone until it was taken.
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
    refused_requests,
    unheard,
)
from worker.runtime.process import Process
from worker.runtime.wakeups import BROKER_UNREACHABLE, BackgroundSender, send_through
from worker.settings import SettingsError, load
from worker.store.base.database import reason

log = logging.getLogger(__name__)
# A child of the prefork pool works one dispatcher at a time: another account must not wait long for its turn.
LONGEST_DISPATCH_OF_A_CHILD = timedelta(seconds=5)
# Bells come faster than a database that is away can say so: one try in so many seconds for each process.
TRY_SECONDS = 2.0
MOST_REASON = 2000  # characters: a row of a list may have something wrong in each of its columns
# How often a worker that started before its database looks whether it may try stopped accounts again.
RESUME_SECONDS = 10.0
_is_child = False
_wake_ups = BackgroundSender(partial(send_through, app))
_node: str | None = None  # Celery's name of this worker
_not_ready = Outage(log)
_database = Outage(log)
_unpublished = Outage(log, logging.WARNING)


class Ticks:
    """Thins out what many bells ask for: once in so many seconds, for each process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._next: float | None = None

    def begin(self, now: float) -> bool:
        """Whether to do it at `now`, in monotonic seconds: other machines' clocks have no say."""
        with self._lock:
            if self._next is not None and now < self._next:
                return False
            self._next = now + self._seconds
            return True


# Sweeps pile up in the broker while no worker runs: one in half a tick.
_ticks = Ticks(SWEEP_SECONDS / 2)
_looks_for_unpublished = Ticks(60.0)


class Tries:
    """Spaces the tries of a process that is not ready, however many bells ring. Not for several threads at once."""

    def __init__(self) -> None:
        self._failed: NotReady | SettingsError | None = None
        self._next = 0.0

    def begin(self, now: float) -> None:
        """Raises what the last try came to, for a while after it. `now` is in monotonic seconds."""
        if self._failed is not None and (now < self._next or isinstance(self._failed, Outdated)):
            raise self._failed

    def failed(self, error: NotReady | SettingsError, now: float) -> None:
        self._failed, self._next = error, now + TRY_SECONDS


_tries = Tries()


@app.task(name="issue", queue=ISSUE, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def issue(account: str) -> None:
    """Ask for the sessions that are due for an account."""
    _serve(WakeUp.issue(account))


@app.task(name="invite", queue=INVITE, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def invite(channel: str) -> None:
    """Send the invitations that are due on a channel."""
    _serve(WakeUp.invite(channel))


@app.task(name="tell", queue=PUBLISH, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def publish(target: str) -> None:
    """Tell one of those who are told what has happened."""
    here = _process()
    if here is None:
        return
    with _a_database_that_may_be_away():
        if here.publisher.publish(target, longest=_longest_dispatch()):
            _wake_ups.send(WakeUp.publish(target))


@app.task(name="sweep", queue=SWEEP, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Give back the leases of workers that are gone, ring for what is due, and let go of what was kept long enough."""
    if not _ticks.begin(monotonic()):
        return
    here = _process()
    if here is None:
        return
    with _a_database_that_may_be_away():
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
        here.retention.step()  # after the bells: nobody waits for it


def _log_unpublished(targets: list[str]) -> None:
    if targets:
        _unpublished.lasts(f"{unpublished_in_words(targets)}: does a worker hear the queue {PUBLISH}?", monotonic())
    else:
        _unpublished.over("others are told again what happens")


@app.task(name=REQUEST, queue=REQUESTS, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
def request(event: Any) -> None:
    """Take an event that another project sent as a task: a CloudEvent as an object, or the data of a request alone.

    It is acknowledged once it was taken, or kept among the refused with the reason. While the database or the broker
    is away, it is waited for; a worker that is told to end meanwhile gives the message back.
    """
    body = json.dumps(event).encode()
    found = envelopes.read(body, content_type="application/json", attributes={}, plain=EventKind.REQUESTED)
    while not (_keep_refused(body, found.reason) if isinstance(found, Unreadable) else _taken(found, body)):
        if process.is_ending():
            raise Reject("the worker ends", requeue=True)
        time.sleep(TRY_SECONDS)


def _taken(event: Event, body: bytes) -> bool:
    """Whether the event is done with: taken, or kept among the refused."""
    here = _process()
    if here is None:
        return False
    receipt: Receipt | None = None
    with _a_database_that_may_be_away():
        try:
            received = here.receiver.receive([event])
        except sa.exc.OperationalError:
            raise
        except Exception as error:  # a bug must not lose what is in this message alone
            log.error("taking a request ended with %s", type(error).__name__)
            return _keep_refused(body, f"the worker failed with {type(error).__name__}")
        (receipt,) = received.receipts
        for wake_up in received.due:
            _wake_ups.send(wake_up)
    if receipt is None or receipt.outcome is not Outcome.REFUSED:
        return receipt is not None
    told = [f"{one.column}: {one.problem}" if one.column else one.problem for one in receipt.problems]
    return _keep_refused(body, "; ".join([receipt.reason, *told]))


def _keep_refused(body: bytes, reason: str) -> bool:
    """Put what was refused where a person finds it; whether the broker has it. No value is in the reason."""
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
        log.warning("the broker is away (%s): a refused request is kept when it is back", type(error).__name__)
        return False
    log.error(
        "a request was refused, and is kept in the queue %s: %s; see `onboard bus dead list`",
        queue.name,
        reason[:MOST_REASON],
    )
    return True


def _declare(connection: Any, queue: Queue) -> None:
    """Make the queue where it is missing. One that is there and differs is used as it is."""
    try:
        with connection.channel() as channel:
            queue.bind(channel).declare()  # type: ignore[no-untyped-call]
    except PreconditionFailed:
        log.debug("the queue %s is there already, with other arguments", queue.name)


def wake_invite(channel: str, for_events: bool) -> None:
    """Wake this process's dispatcher of a channel, if it runs, else any worker."""
    here, wake_up = process.existing(), WakeUp.invite(channel)
    if here is None or not here.wake_here(wake_up, for_events=for_events):
        _wake_ups.send(wake_up)


def _serve(wake_up: WakeUp) -> None:
    here = _process()
    if here is None:
        return
    with _a_database_that_may_be_away():
        if here.wait_for(here.runner.serve(wake_up)):
            _wake_ups.send(wake_up)


@contextmanager
def _a_database_that_may_be_away() -> Iterator[None]:
    # The bell is lost, not the work: the next tick of the sweep tries again.
    try:
        yield
    except sa.exc.OperationalError as error:
        _database.lasts(f"the database is away, nothing is taken: {reason(error)}", monotonic())
    else:
        _database.over("the database is there again: rows are taken")


def _process() -> Process | None:
    try:
        here = process.current(_make)
    except (NotReady, SettingsError) as error:
        _not_ready.lasts(f"nothing is taken: {error}", monotonic())
        if isinstance(error, Outdated):
            _hear_no_more()
        return None
    _not_ready.over("the database is ready: rows are taken")
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
    log.error("nothing more is taken, what is called is finished and written: %s", why)
    _hear_no_more()


def _hear_no_more() -> None:
    """Leave the bells to workers of the newer release. The worker stays: to end would have it started over and over."""
    if _node is None:
        return
    try:
        for queue in QUEUES:
            app.control.cancel_consumer(queue, destination=[_node])
    except BROKER_UNREACHABLE as error:
        log.warning("the broker is away (%s): bells are heard, and come to nothing", type(error).__name__)


@celeryd_init.connect  # type: ignore[untyped-decorator]
def _remember_the_name(sender: str, **_signal: Any) -> None:
    global _node
    _node = sender


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _in_a_child(**_signal: Any) -> None:
    # Fires in the children of the prefork pool alone, and must return at once: the loop is made at the first bell.
    global _is_child
    _is_child = True


@worker_ready.connect  # type: ignore[untyped-decorator]
def _try_stopped_accounts_again(sender: Any, **_signal: Any) -> None:
    # Once for a worker, in its parent, on connections that are closed again: children are forked from it later.
    try:
        with opened(load()) as parts:
            parts.resume()
    except (NotReady, SettingsError) as error:
        _not_ready.lasts(f"nothing is taken: {error}", monotonic())
        if not isinstance(error, Outdated):
            sender.timer.call_after(RESUME_SECONDS, partial(_try_stopped_accounts_again, sender))
    else:
        _not_ready.over("the database is ready: rows are taken")


@worker_ready.connect  # type: ignore[untyped-decorator]
def _say_what_is_left_to_others(**_signal: Any) -> None:
    heard = list(app.amqp.queues.consume_from)
    if left := unheard(heard):
        log.info("it hears %s alone: other workers must hear %s", ", ".join(heard), left)


@worker_ready.connect  # type: ignore[untyped-decorator]
def _end_dispatchers_before_force(**_signal: Any) -> None:
    # Celery waits (on prefork, `worker_soft_shutdown_timeout`) before it says that it is shutting down.
    celerys = signal.getsignal(signal.SIGQUIT)

    def end(number: int, frame: FrameType | None) -> None:
        process.end_dispatchers()
        if callable(celerys):
            celerys(number, frame)

    signal.signal(signal.SIGQUIT, end)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop(**_signal: Any) -> None:
    # End the dispatchers now, so that a warm shutdown is quick.
    process.end_dispatchers()


@worker_shutdown.connect  # type: ignore[untyped-decorator]
@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _close(**_signal: Any) -> None:
    here = process.forget()
    if here is not None:
        here.close()
