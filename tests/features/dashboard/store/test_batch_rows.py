"""The rows of a batch that a page shows."""

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

from tests.reporting.store.test_report_rows import filled, lines, names
from tests.stored.shelf import customer
from worker.core.database.tables import Job
from worker.core.model.states import JobState, LineState
from worker.features.dashboard.store.batch_rows import BatchRows

pytestmark = pytest.mark.both_databases


def test_a_page_of_rows_in_a_rare_state_reads_no_other_rows_of_the_batch(shelf, database):
    batch = shelf.add(*(customer(next(names)) for _ in range(500)))
    shelf.set(Job, Job.row.in_([7, 99]), state=JobState.HELD)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # The rows that earlier tests deleted still count as pages until they are vacuumed, and change the plan.
            connection.exec_driver_sql("VACUUM ANALYZE job")
    plans: list[str] = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def keep(_connection, cursor, text, parameters, *_):
        if text.startswith("SELECT job."):
            cursor.execute(("EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN ") + text, parameters)
            plans.append("\n".join(str(row[-1]) for row in cursor.fetchall()))

    assert [one.row for one in BatchRows(database).some(batch, after=0, most=50, state="held")] == [7, 99]
    # Of few held rows, PostgreSQL sorts those of the other index.
    few = "ix_job_rare" in plans[0] or "ix_job_held" in plans[0]
    assert [few, "ix_job_followers" in plans[1]] == [True, True], plans


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines)
def test_a_page_has_the_rows_of_a_state_and_those_that_need_a_person(shelf, given_lines):
    batch = filled(shelf, given_lines)
    found = list(shelf.facts.lines(batch))
    shown = BatchRows(shelf.database)
    for state in (*JobState, *LineState):
        page = shown.some(batch, after=2, most=25, state=state)
        assert [one.row for one in page] == [one.row for one in found if one.state == state and one.row > 2]
    needing = [one.row for one in found if one.state in ("held", "failed", "rejected")]
    assert [one.row for one in shown.needing(batch)] == needing
    assert [one.row for one in shown.needing(batch, most=2)] == needing[:2]
