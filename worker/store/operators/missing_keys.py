"""Which keys held rows need that this configuration does not have.

From the reason of the held rows, which names the key: no other row is read. `onboard keys status` reads every row.
"""

from collections.abc import Collection

import sqlalchemy as sa

from worker.domain.model.reasons import Reason
from worker.domain.model.states import JobState
from worker.foundation.keyring import KEY_ID_DIGITS, NEEDS_THE_KEY
from worker.store.base.database import Database
from worker.store.tables import Job


def missing_keys(database: Database, known: Collection[str]) -> dict[str, int]:
    """How many held rows wait for each key that is not among these."""
    place = sa.func.instr if database.is_sqlite else sa.func.strpos
    begins = place(Job.detail, NEEDS_THE_KEY)
    key_id = sa.func.substr(Job.detail, begins + len(NEEDS_THE_KEY), KEY_ID_DIGITS)
    waiting = sa.select(key_id, sa.func.count()).where(
        Job.state == JobState.HELD, Job.joins.is_(None), Job.reason == Reason.CANNOT_DECRYPT, begins > 0
    )
    with database.read() as connection:
        found = connection.execute(waiting.group_by(sa.text("1")).order_by(sa.text("1")))
        return {id_: number for id_, number in found if id_ not in known}
