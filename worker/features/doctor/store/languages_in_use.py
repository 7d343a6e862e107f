"""Which languages, templates and channels the rows have that are not ended."""

from typing import NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.tables import CustomerRow, Job
from onboarding_worker.core.model.states import OPEN_JOBS


class InUse(NamedTuple):
    """Rows whose messages have the same words. `locale`, `template` and `brand` are "" where a row names none."""

    locale: str
    template: str
    brand: str
    channel: str
    rows: int


def languages_in_use(database: Database) -> list[InUse]:
    """All that are in use, by locale. Reads each open row once."""
    columns = (CustomerRow.locale, Job.template, Job.brand, Job.channel)
    query = (
        sa.select(*columns, sa.func.count())
        .select_from(Job)
        .join(CustomerRow, CustomerRow.customer_id == Job.customer_id)
        .where(Job.state.in_(OPEN_JOBS))
        .group_by(*columns)
        .order_by(*columns)
    )
    return [InUse(*row) for row in database.rows(query)]
