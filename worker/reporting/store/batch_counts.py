"""Adds up the changes of the batches' counts, so that few are left for a status to read."""

from collections import defaultdict
from typing import Any

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.tables import BatchCount, BatchCountChange
from worker.core.database.upserts import insert

AT_ONCE = 5_000  # changes in a transaction
LEFT = 500  # fewer are not worth a transaction
_WORDS = [column.name for column in BatchCount.__table__.columns if column.primary_key]
_CHANGE = BatchCountChange.__table__.c
_NEXT = sa.select(BatchCountChange.id).order_by(BatchCountChange.id).limit(AT_ONCE)
# Two transactions may remove changes at once: each gets those that the other did not.
_TAKE = (
    sa.delete(BatchCountChange)
    .where(BatchCountChange.id.in_(_NEXT.scalar_subquery()))
    .returning(*(_CHANGE[name] for name in _WORDS), BatchCountChange.rows, BatchCountChange.sessions)
)
MANY_CHANGES = sa.exists(sa.select(BatchCountChange.id).offset(LEFT))


def add_up(database: Database) -> int:
    """Add the oldest changes to their counts. Returns how many there were."""
    sums: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0])
    with database.write() as connection:
        taken = connection.execute(_TAKE).all()
        for *words, rows, sessions in taken:
            total = sums[tuple(words)]
            total[0] += rows
            total[1] += sessions
        given: dict[str, Any] = {name: sa.bindparam(name) for name in (*_WORDS, "rows", "sessions")}
        each = insert(BatchCount, connection.dialect.name).values(given)
        more = {name: BatchCount.__table__.c[name] + each.excluded[name] for name in ("rows", "sessions")}
        values = [
            {**dict(zip(_WORDS, words, strict=True)), "rows": rows, "sessions": sessions}
            for words, (rows, sessions) in sorted(sums.items(), key=lambda item: tuple(map(str, item[0])))
            if rows or sessions
        ]
        if values:
            connection.execute(each.on_conflict_do_update(index_elements=_WORDS, set_=more), values)
    return len(taken)
