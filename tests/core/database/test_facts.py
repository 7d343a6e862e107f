"""What happens to rows is told to those who want to know it."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.facts import STOPPED, Fact, JobsStopped, MessagesSent, SessionsExpired, happened
from onboarding_worker.core.model.states import JobState

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
TOLD = sa.table("told", sa.column("what", sa.Text))


class Writes:
    def __init__(self, hears):
        self.hears = hears

    def observe(self, connection, fact, now):
        connection.execute(TOLD.insert(), [{"what": f"{type(fact).__name__} {[*fact.ids]} {now:%H:%M}"}])


@pytest.fixture
def told(tmp_path):
    database = Database(
        f"sqlite:///{tmp_path / 'facts.db'}", observers=[Writes(Fact), Writes(Fact), Writes(SessionsExpired)]
    )
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE told (what TEXT)")
    yield database
    database.close()


def words(database):
    with database.read() as connection:
        return list(connection.execute(sa.select(TOLD)).scalars())


def test_a_job_that_failed_or_is_held_has_stopped_and_no_other():
    assert [state for state in JobState if state in STOPPED] == [JobState.HELD, JobState.FAILED]


def test_each_observer_is_told_what_happened(told):
    with told.write() as connection:
        happened(connection, JobsStopped([7]), now=NOW)
        happened(connection, MessagesSent([]), now=NOW)
    assert words(told) == ["JobsStopped [7] 09:00"] * 2 + ["MessagesSent [] 09:00"] * 2


def test_what_is_undone_was_never_told(told):
    def breaks_off():
        with told.write() as connection:
            happened(connection, JobsStopped([7]), now=NOW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaks_off()
    assert words(told) == []


def test_a_transaction_of_a_callers_own_engine_tells_it_too(told):
    engine = sa.create_engine(told.engine.url)
    with engine.begin() as connection, told.write(connection) as ours:
        happened(ours, JobsStopped([7]), now=NOW)
    engine.dispose()
    assert len(words(told)) == 2
