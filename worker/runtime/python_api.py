"""Events from Python: for a project that has customers in its own code, and may run Celery itself.

`from onboarding_worker import request_onboarding` loads this module. It changes neither Celery nor the
log of the calling process.
"""

import os
import threading
import uuid
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import Session, scoped_session

from onboarding_worker.core.database.schema import NotReady
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.incoming import OPERATOR, Event, EventKind, EventReceipt, Outcome
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.events.event_receiver import Receiver
from onboarding_worker.runtime.wakeups import WakeUps
from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.needs import WAKING
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.opening import opened
from onboarding_worker.wiring.os_user import os_user

__all__ = ["EventRefused", "NotReady", "SettingsError", "request_onboarding", "take_event"]


class EventRefused(Exception):
    """An event that is refused. `reason` and `problems` say why, and hold none of its values. There is at least one
    problem; one of the whole event has no column, and its text is the reason."""

    def __init__(self, reason: str, problems: Iterable[FieldProblem] = ()) -> None:
        self.reason = reason
        found = tuple(problems)
        self.problems = found or (FieldProblem("", reason),)
        texts = "; ".join(one.named for one in found)
        super().__init__(f"{reason}: {texts}" if texts else reason)


def request_onboarding(
    data: Mapping[str, Any],
    *,
    source: str,
    id: str | None = None,
    connection: sa.Connection | Session | scoped_session[Any] | None = None,
    time: datetime | None = None,
    traceparent: str | None = None,
) -> EventReceipt:
    """Have a customer verified: the worker opens a session and sends its link. `data` is a list's row, as an object.

    `source` names the caller and `id` the event of that caller, each at most 200 characters. The same two again are the
    same event: give your sign-up's id, and a repeated call makes no second job. Without an id each call is a new event.
    `time` is when it happened (aware), by default now. `traceparent`: the trace that goes on here (W3C Trace Context).

    With a `connection` or an ORM session of yours on the worker's database, the job is part of your transaction.
    Workers are woken when an ORM session commits; after the commit of a bare connection they find the job within a
    second. Without a connection the event is committed here.

    Returns the event's outcome: taken, ignored because something newer is known, or a duplicate. Raises EventRefused
    for data that is refused, SettingsError and NotReady if the worker's configuration or database cannot be used,
    sqlalchemy.exc.OperationalError if the database cannot be used; in your transaction, what the database raises.
    """
    return take_event(
        EventKind.REQUESTED, data, source=source, id=id, connection=connection, time=time, traceparent=traceparent
    )


def take_event(
    kind: EventKind | str,
    data: Mapping[str, Any],
    *,
    source: str,
    id: str | None = None,
    connection: sa.Connection | Session | scoped_session[Any] | None = None,
    time: datetime | None = None,
    traceparent: str | None = None,
) -> EventReceipt:
    """As `request_onboarding`, for an event of any type: "onboarding.cancelled", "customer.updated", …"""
    try:
        kind = EventKind(kind)
    except ValueError:
        raise EventRefused(f"its type is none of {', '.join(EventKind)}") from None
    name = str(uuid.uuid4()) if id is None else id
    actor = f"python, {os_user().full}"
    event = Event(source, name, kind, data, time, OPERATOR, actor, traceparent)
    here = _here()
    # Such as Flask-SQLAlchemy's `db.session`: it stands for the session of this thread.
    given = connection() if isinstance(connection, scoped_session) else connection
    if given is None:
        received = here.receiver.receive([event])
        here.wake(received.due)
    elif isinstance(given, Session):
        received = here.receiver.receive_within(given.connection(), [event])
        _wake_after_commit(given, received.due)
    else:
        received = here.receiver.receive_within(given, [event])
    (receipt,) = received.receipts
    if receipt.outcome is Outcome.REFUSED:
        raise EventRefused(receipt.reason, receipt.problems)
    return receipt


class _Here:
    """This process's connections and receiver, which no other process may use."""

    def __init__(self, settings: Settings) -> None:
        """Raises NotReady, SettingsError."""
        self._wake_ups = WakeUps(settings)
        with ExitStack() as exits:
            # Opening writes nothing: on SQLite a write would wait for the caller's own transaction.
            parts = exits.enter_context(opened(settings, prepare=Parts.keep_time))
            self.receiver = Receiver(parts.intake, parts.inboxes, parts.keyring)
            self.close = exits.pop_all().close

    def wake(self, due: Iterable[WakeUp]) -> None:
        """Wake the workers, without waiting for the broker."""
        for wake_up in due:
            self._wake_ups.send_soon(wake_up)


_processes: dict[int, _Here] = {}
_making = threading.Lock()


def _here() -> _Here:
    """This process's _Here, made at the first event from the file that ONBOARDING_CONFIG names."""
    with _making:
        here = _processes.get(os.getpid())
        if here is None:
            here = _processes[os.getpid()] = _Here(load(needs=WAKING))
    return here


def close() -> None:
    """Close this process's connections, if there are any; the next event opens new ones."""
    with _making:
        here = _processes.pop(os.getpid(), None)
    if here is not None:
        here.close()


def _in_a_child() -> None:
    # A thread of the parent may have held the lock at the fork.
    global _making
    _making = threading.Lock()


os.register_at_fork(after_in_child=_in_a_child)


_DUE = "onboarding_due"  # in a session's `info`: the wake-ups to send once it is committed


def _wake_after_commit(session: Session, due: Iterable[WakeUp]) -> None:
    if _DUE not in session.info:
        sqlalchemy_event.listen(session, "after_commit", _committed)
        sqlalchemy_event.listen(session, "after_rollback", lambda session: session.info.get(_DUE, set()).clear())
    session.info.setdefault(_DUE, set()).update(due)


def _committed(session: Session) -> None:
    if session.in_nested_transaction():  # only a savepoint ended: no other connection sees the rows yet
        return
    due = session.info.get(_DUE, set())
    _here().wake(due)
    due.clear()
