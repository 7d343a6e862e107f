"""A job that joined another list's job has the state of that job, and each other job its own."""

import sqlalchemy as sa

from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.database.tables import work as joined
from onboarding_worker.core.database.tables.work import LEAD
from onboarding_worker.core.model.states import JobState
from tests.stored.shelf import customer

EXPRESSIONS = {
    "state": joined.STATE,
    "account": joined.ACCOUNT,
    "result": joined.RESULT,
    "channel": joined.LEAD_CHANNEL,
    "reason": joined.REASON,
    "detail": joined.DETAIL,
    "due_at": joined.DUE_AT,
}


def test_a_job_that_joined_another_shows_what_that_one_is(shelf):
    first = shelf.add(customer("Ona"))
    shelf.clock.advance(minutes=1)
    second = shelf.add(customer("Ona"), customer("Rita"))
    leading = {
        "state": JobState.HELD,
        "account": "au",
        "result": "review",
        "channel": "sms",
        "reason": "a",
        "detail": "b",
    }
    own = sa.select(*(Job.__table__.c[name] for name in EXPRESSIONS)).order_by(Job.id)
    shown = (
        sa.select(*(expression.label(name) for name, expression in EXPRESSIONS.items()))
        .select_from(Job)
        .join(LEAD, LEAD.id == Job.leader_id, isouter=True)
        .order_by(Job.id)
    )
    with shelf.database.write() as connection:
        connection.execute(
            sa.update(Job).where(Job.batch_id == first).values(**leading, due_at=shelf.clock(), counted=Job.counted)
        )
        ona, joins, rita = connection.execute(own).all()
        assert connection.execute(shown).all() == [ona, ona, rita]
        assert connection.execute(sa.select(Job.leader_id).where(Job.batch_id == second)).first() is not None
    assert joins != ona
