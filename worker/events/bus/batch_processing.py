"""Processes a chunk of messages: reads them, stores their events in one transaction, names the refused messages."""

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import sqlalchemy as sa

from worker.core.model.incoming import Event, Outcome, Receipt, Received
from worker.core.model.wakeups import WakeUp
from worker.events.bus.dead_lettering import Refusal
from worker.events.bus.messages import Message
from worker.events.cloudevents import Unreadable
from worker.events.refused import RefusedMessage

log = logging.getLogger(__name__)


class Inbox(Protocol):
    """Stores events."""

    def receive(self, events: Sequence[Event]) -> Received:
        """Take events in, in one transaction. Raises sqlalchemy.exc.OperationalError without a database."""

    def keep(self, refused: Sequence[RefusedMessage]) -> list[uuid.UUID]:
        """Store refused messages, in one transaction. Returns their ids, in their order. Raises as `receive`."""

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        """As `Keyring.digests`, once it was ready."""

    def check_ready(self) -> None:
        """Raises engine.opening.NotReady if no event can be taken in now."""

    def outdated(self) -> str | None:
        """Why this release must stop; None when it may go on. Raises sqlalchemy.exc.OperationalError."""

    def unwritable(self) -> str:
        """Why no event can be stored, though the database answers; "": it can. Raises as `outdated`."""


@dataclass(frozen=True)
class Taken:
    """The result of a chunk: an outcome for each message, and the refused messages."""

    outcomes: list[Outcome]
    refused: list[tuple[Any, Refusal]]
    due: frozenset[WakeUp]


def take(inbox: Inbox, chunk: Sequence[Any], read: Callable[[Message], Event | Unreadable]) -> Taken:
    """Take a chunk of messages in. When this returns, their events are committed. `read` never raises.

    Raises sqlalchemy.exc.OperationalError when the database cannot be used: then no message may be acknowledged.
    """
    found = [read(message) for message in chunk]
    events = [event for event in found if isinstance(event, Event)]
    received = _received(inbox, events) if events else Received([])
    receipts = iter(received.receipts)
    outcomes: list[Outcome] = []
    refused: list[tuple[Any, Refusal]] = []
    for message, one in zip(chunk, found, strict=True):
        refusal: Refusal | None = None
        if isinstance(one, Unreadable):
            refusal, outcome = Refusal(one.reason), Outcome.REFUSED
        else:
            receipt = next(receipts)
            outcome = receipt.outcome
            if outcome is Outcome.REFUSED:
                refusal = Refusal(receipt.reason, receipt.problems)
        outcomes.append(outcome)
        if refusal is not None:
            refused.append((message, refusal))
    return Taken(outcomes, refused, received.due)


def keep(inbox: Inbox, refused: Sequence[RefusedMessage]) -> list[uuid.UUID]:
    """Store refused messages, and return their ids. Raises sqlalchemy.exc.OperationalError.

    Where that meets a bug, they are stored without their content: else they would come again for ever.
    """
    if not refused:
        return []
    try:
        return inbox.keep(refused)
    except sa.exc.OperationalError:
        raise
    except Exception as error:
        log.error("a bug: storing %d refused messages ended with %s", len(refused), type(error).__name__)
        return inbox.keep([replace(one, content=None, customer_id="") for one in refused])


def _received(inbox: Inbox, events: Sequence[Event]) -> Received:
    """Take events in. Where they meet a bug, try each alone and refuse the bad one: it would come again for ever."""
    try:
        return inbox.receive(events)
    except sa.exc.OperationalError:
        raise
    except Exception as error:
        log.error("a bug: storing %d events together ended with %s", len(events), type(error).__name__)
        if len(events) == 1:
            return Received([Receipt(Outcome.REFUSED, reason=f"a bug of ours ({type(error).__name__}): report it")])
    alone = [_received(inbox, [event]) for event in events]
    return Received(
        [receipt for one in alone for receipt in one.receipts], frozenset().union(*(one.due for one in alone))
    )
