"""For which accounts and senders the waiting rows wait."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from worker.domain.model.customers import Channel, invitation_channels
from worker.domain.model.reasons import Reason
from worker.domain.model.states import JobState
from worker.store.base.database import Database, fetch
from worker.store.base.tally import Kind
from worker.store.operators.counting import COUNTED, ROWS
from worker.store.tables import Batch
from worker.store.tables.types import word_of


@dataclass(frozen=True)
class Waiting:
    """What rows wait for, due or not. `names`: accounts and senders. `for_senders`: by account all of whose rows wait
    for their senders and not for a call, the channels of each."""

    names: frozenset[str]
    for_senders: Mapping[str, frozenset[frozenset[str]]]

    def kept_by(self, shut: Collection[str]) -> frozenset[str]:
        """The accounts for which no session is requested while these senders are shut."""
        kept = {account for account, each in self.for_senders.items() if all(one.intersection(shut) for one in each)}
        return frozenset(kept)


def waiting(database: Database) -> Waiting:
    """What the waiting rows wait for, but those of paused batches. Read from the kept counts."""
    with database.read() as connection:
        return waiting_now(connection)


def waiting_now(connection: sa.Connection) -> Waiting:
    """As `waiting`, in the caller's transaction."""
    paused = sa.select(Batch.id).where(Batch.pause_cause != "")
    alike = (COUNTED.kind, COUNTED.account, COUNTED.channel, COUNTED.reason)
    waits = (COUNTED.kind.in_([Kind.JOB.value, Kind.MESSAGE.value]), COUNTED.state == JobState.WAITING.value)
    query = sa.select(*alike).where(*waits, COUNTED.batch_id.not_in(paused)).group_by(*alike).having(ROWS > 0)
    names: set[str] = set()
    senders: dict[str, set[frozenset[str]]] = defaultdict(set)
    others: set[str] = set()
    for row in fetch(connection, query):
        if row.kind == Kind.MESSAGE:
            names.add(row.channel)
        elif row.reason == Reason.WAITS_FOR_SENDER:
            channels = frozenset(map(str, invitation_channels(word_of(Channel, row.channel))))
            names |= {row.account, *channels}
            senders[row.account].add(channels)
        else:
            names.add(row.account)
            others.add(row.account)
    only = {account: frozenset(each) for account, each in senders.items() if account not in others}
    return Waiting(frozenset(names), only)
