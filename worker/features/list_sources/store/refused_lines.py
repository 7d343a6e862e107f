"""The refused lines of a list that a folder brought, for the file of problems next to it."""

from collections.abc import Iterator

import sqlalchemy as sa

from worker.core.customers.customers import FieldProblem
from worker.core.database.database import Database, fetch
from worker.core.database.tables import SkippedLine
from worker.lists.lines import same_customer

_REFUSED = (
    sa.select(SkippedLine.row, SkippedLine.duplicate_of, SkippedLine.problems).order_by(SkippedLine.row).limit(1000)
)


def problems_of(database: Database, batch_id: int) -> Iterator[tuple[int, FieldProblem]]:
    """The problems of the batch's refused lines, by row; of a duplicate, which row has the customer too."""
    after = 0
    while True:
        with database.read() as connection:
            chunk = fetch(connection, _REFUSED.where(SkippedLine.batch_id == batch_id, SkippedLine.row > after))
        for line in chunk:
            if line.duplicate_of is not None:
                yield line.row, same_customer(line.duplicate_of)
            yield from ((line.row, FieldProblem(**problem)) for problem in line.problems)
        if not chunk:
            return
        after = chunk[-1].row
