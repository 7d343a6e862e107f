"""Puts refused messages back into the queues that they came from: for a person, by command or by page."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from worker.core.database.audit_entries import note_alone
from worker.core.database.database import Database
from worker.core.foundation.connection_failures import in_words
from worker.events.brokers.connection import OUTAGES
from worker.events.bus.dead_lettering import message_in
from worker.events.bus.dead_letters import DeadQueue, dead_queue
from worker.events.bus.sources import Source, sources_of
from worker.events.refused import NotPutBack, PutBack, dead_queue_of
from worker.events.store.refused_events import KeptMessage, RefusedEvents
from worker.settings.model import Settings
from worker.settings.problems import SettingsError

NOT_NAMED = "this configuration does not name its queue"
NO_QUEUES = (
    "this configuration has no queue of refused events: neither [bus] (events of other systems) nor a [broker]"
    " other than memory:// (requests sent as tasks)"
)


def put_back(
    settings: Settings,
    database: Database,
    refused: RefusedEvents,
    one: KeptMessage | None,
    *,
    now: datetime,
    until: datetime | None = None,
) -> PutBack:
    """Put a message back, or all that were refused until then; without it until `now`, the database's time. Blocking.
    Raises NotPutBack.

    The audit log has an entry before the first goes. No message is lost, whatever happens meanwhile; one that is there
    twice is processed once.
    """
    count = 1 if one else sum(refused.totals().values())
    which = f"dead event {one.id}" if one else "dead events"
    note_alone(database, which, now=now, count=count, reason="to be put back")
    with _opened(settings) as queues:
        return _put_back(refused, [one] if one else refused.all_until(until or now), queues)


def _put_back(refused: RefusedEvents, messages: Iterable[KeptMessage], queues: "_Queues") -> PutBack:
    """Put messages back into their queues, each before its row is removed."""
    went: dict[str, list[UUID]] = {}
    missed: dict[str, str] = {}
    not_kept = 0
    for one in messages:
        dead = dead_queue_of(one.queue)
        if one.content is None:
            not_kept += 1
        elif dead in queues.open:
            queues.open[dead].put_back(message_in(one.content))
            refused.remove(one)
            went.setdefault(dead, []).append(one.id)
        else:
            missed[dead] = queues.unreachable.get(dead, NOT_NAMED)
    for dead, ids in went.items():
        queues.open[dead].forget(ids)
    return PutBack({dead: len(ids) for dead, ids in went.items()}, not_kept, missed)


@dataclass(frozen=True)
class _Queues:
    """The queues of refused messages by name, and why others cannot be reached."""

    open: dict[str, DeadQueue]
    unreachable: dict[str, str]


@contextmanager
def _opened(settings: Settings) -> Iterator[_Queues]:
    """Raises NotPutBack if no queue can be reached, or a broker is lost meanwhile."""
    queues, reached = _Queues({}, {}), []
    with ExitStack() as exits:
        for source in _sources(settings):
            dead = source.topology.dead
            try:
                queues.open[dead] = exits.enter_context(dead_queue(source.topology, source.url, tls=source.tls))
            except OUTAGES as error:
                queues.unreachable[dead] = _failed(error, source.setting)
            else:
                reached.append(source.setting)
        if not queues.open:
            raise NotPutBack("\n".join(queues.unreachable.values()))
        try:
            yield queues
        except OUTAGES as error:
            raise NotPutBack(_failed(error, " or ".join(reached))) from None


def _sources(settings: Settings) -> list[Source]:
    """The queues that refused messages came from."""
    try:
        sources = [source for source in sources_of(settings) if not source.url.startswith("memory")]
    except SettingsError as error:  # this process does not hold the password of [bus] (`settings.needs`)
        raise NotPutBack(f"this process cannot reach the bus: {error}") from None
    if not sources:
        raise NotPutBack(NO_QUEUES)
    return sources


def _failed(error: Exception, key: str) -> str:
    return f"the broker does not work as expected ({in_words(error)}): check {key}"
