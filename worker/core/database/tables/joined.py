"""A job that joined another list's job has the state of that job. It is read, never copied, so they cannot differ.

A query that uses these joins `LEAD`: `.join(LEAD, LEAD.id == Job.joins, isouter=True)`.
"""

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.core.database.tables.work import Job

LEAD = aliased(Job)
STATE = sa.func.coalesce(LEAD.state, Job.state)
ACCOUNT = sa.func.coalesce(LEAD.account, Job.account)
RESULT = sa.func.coalesce(LEAD.result, Job.result)
LEAD_CHANNEL = sa.func.coalesce(LEAD.channel, Job.channel)
REASON = sa.func.coalesce(LEAD.reason, Job.reason)
DETAIL = sa.func.coalesce(LEAD.detail, Job.detail)
DUE_AT = sa.func.coalesce(LEAD.due_at, Job.due_at)


def served_by(batch_id: int, row: int) -> str:
    """The detail of a job that joined the job of this row. It is written again whenever the job joins another one."""
    return f"joined batch {batch_id}, row {row}"
