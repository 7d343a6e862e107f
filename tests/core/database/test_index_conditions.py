"""A query uses a partial index only if it has the condition of the index, word for word."""

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.job_ids import IS_LIVE
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow, Webhook
from onboarding_worker.core.database.tables.types import OPTIONS
from onboarding_worker.core.model.states import LIVE_SESSIONS, InvitationState, JobState
from onboarding_worker.reporting.store.waiting import IS_LISTED


def index(model, name) -> sa.Index:
    return next(each for each in model.__table__.indexes if each.name == name)


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("condition", "model", "name"),
    [
        (IS_LISTED, Webhook, "ix_webhook_listed"),
        (InvitationRow.state == bulk.fixed(InvitationState.WAITING), InvitationRow, "ix_invitation_due"),
        (InvitationRow.state == bulk.fixed(InvitationState.WORKING), InvitationRow, "ix_invitation_lease"),
        (sa.and_(Job.state == bulk.fixed(JobState.WAITING), Job.leader_id.is_(None)), Job, "ix_job_due"),
    ],
)
def test_a_condition_has_the_words_of_its_partial_index(dialect, condition, model, name):
    written = str(condition.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    predicate = index(model, name).info[OPTIONS][f"{dialect.name}_where"].text
    assert written.replace(f"{model.__tablename__}.", "") == predicate


def test_the_index_of_live_sessions_and_the_queries_mean_the_same_states():
    written = index(SessionRow, "uq_session_live").expressions[-1].text
    condition = str(IS_LIVE.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    assert condition.replace("session.", "") in written
    assert written.count("'") == 2 * len(LIVE_SESSIONS)
    assert all(f"'{state.value}'" in written for state in LIVE_SESSIONS)
