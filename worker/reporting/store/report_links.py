"""Our own links in a report, for those who send them in another way: in a letter, or in a message of their own."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice

from worker.core.database.database import Database
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.store.own_links import OwnLink, StableLinks
from worker.core.model.states import JobState
from worker.reporting.store.report_rows import LineFacts

CHUNK = 500
# A row before has nothing to lead to, and one after leads nowhere any more.
LINKED = (JobState.ISSUED.value, JobState.INVITED.value)


def with_own_links(
    database: Database, keyring: Keyring, links: StableLinks, lines: Iterable[LineFacts], *, now: datetime
) -> Iterator[LineFacts]:
    """The lines with our own link in place of the session's. A customer without one gets it here: it may never be in a
    message. Each chunk is one transaction."""
    lines = iter(lines)
    while chunk := list(islice(lines, CHUNK)):
        wanted = {(line.customer_id, line.purpose) for line in chunk if line.state in LINKED}
        found = {}
        if wanted:
            with database.write() as connection:
                found = links.ensure(connection, keyring, wanted, now=now)
                shown = (one for one in found.values() if isinstance(one, OwnLink))
                links.put_off(connection, shown, now=now)
        for line in chunk:
            own = found.get((line.customer_id, line.purpose)) if line.state in LINKED else None
            if isinstance(own, OwnLink):
                yield replace(line, opening=replace(line.opening, link=own.address), unreadable="")
            else:
                why = f"its link is not shown: {own}" if own is not None else line.unreadable
                yield replace(line, opening=replace(line.opening, link=""), unreadable=why)
