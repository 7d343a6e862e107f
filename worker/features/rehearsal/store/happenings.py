"""What has happened to each customer of a batch, with its time. No contact detail is read."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.job_ids import of_batch
from worker.core.database.tables import InvitationRow, Job, SessionRow
from worker.core.database.tables.types import UtcDateTime
from worker.core.messages.contact import COUNTED
from worker.core.model.states import ENDED_JOBS, UNSENT_JOBS, JobState, SessionState


@dataclass(frozen=True)
class Opened:
    """A session. `is_new`: the customer had one before."""

    at: datetime
    customer_id: str
    account: str
    is_new: bool


@dataclass(frozen=True)
class Left:
    """A message that has left. `template` and `brand` are the row's; `account` is the session's."""

    at: datetime
    customer_id: str
    account: str
    channel: str
    kind: str
    template: str
    brand: str
    new_link: bool


@dataclass(frozen=True)
class Ended:
    """A customer for whom nothing more happens by itself: the job has ended, or is held."""

    at: datetime
    customer_id: str
    account: str
    state: JobState
    result: str
    reason: str


@dataclass(frozen=True)
class Happenings:
    """`unsent`: how many customers wait for their first message."""

    opened: tuple[Opened, ...]
    left: tuple[Left, ...]
    ended: tuple[Ended, ...]
    unsent: int


def happenings(database: Database, batch_id: int) -> Happenings:
    given = {"batch": batch_id}
    with database.read() as connection:
        return Happenings(
            tuple(Opened(*row) for row in connection.execute(_OPENED, given)),
            tuple(Left(*row) for row in connection.execute(_LEFT, given)),
            tuple(Ended(*row) for row in connection.execute(_ENDED, given)),
            int(connection.execute(_UNSENT, given).scalar_one()),
        )


_OF_BATCH = of_batch(sa.bindparam("batch", type_=Job.id.type))
_OPENED = (
    sa.select(SessionRow.issued_at, SessionRow.customer_id, SessionRow.account, SessionRow.replaces.is_not(None))
    .join(Job, Job.id == SessionRow.job_id)
    .where(_OF_BATCH, SessionRow.state != SessionState.UNBOUGHT)
)
_LEFT = (
    sa.select(
        sa.type_coerce(InvitationRow.sent_at, UtcDateTime()),
        SessionRow.customer_id,
        SessionRow.account,
        InvitationRow.channel,
        InvitationRow.kind,
        Job.template,
        Job.brand,
        InvitationRow.new_link,
    )
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .join(Job, Job.id == InvitationRow.job_id)
    .where(_OF_BATCH, InvitationRow.sent_at.is_not(None), InvitationRow.state.in_(COUNTED))
)
_ENDED = sa.select(Job.changed_at, Job.customer_id, Job.account, Job.state, Job.result, Job.reason).where(
    _OF_BATCH, Job.state.in_([*ENDED_JOBS, JobState.HELD])
)
_UNSENT = (
    sa.select(sa.func.count())
    .select_from(Job)
    .where(_OF_BATCH, Job.state.in_(UNSENT_JOBS), Job.reissues == 0)
    .where(Job.channel != "none")
)
