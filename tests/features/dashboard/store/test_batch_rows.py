"""The rows of batches that a page shows: those of one, and the customers who are not invited yet."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.model.states import JobState, LineState
from onboarding_worker.core.rows.verdicts import Verdict
from onboarding_worker.features.dashboard.store.batch_rows import kept_back, page_of_rows, rows_in_need
from onboarding_worker.providers.webhooks.contract import Key
from tests.reporting.store.test_report_rows import filled, lines, names
from tests.stored.plans import plans_of, tidy
from tests.stored.shelf import customer
from tests.stored.webhook_feed import APPROVED

pytestmark = pytest.mark.both_databases


def test_a_page_of_rows_in_a_rare_state_reads_no_other_rows_of_the_batch(shelf, database):
    batch = shelf.add(*(customer(next(names)) for _ in range(500)))
    shelf.set(Job, Job.row.in_([7, 99]), state=JobState.HELD)
    tidy(database, "job")
    with plans_of(database, "SELECT job.") as plans:
        assert [one.row for one in page_of_rows(database, shelf.keyring, batch, after=0, most=50, state="held")] == [
            7,
            99,
        ]
    # Of few held rows, PostgreSQL sorts those of the other index.
    few = "ix_job_rare" in plans[0] or "ix_job_held" in plans[0]
    assert [few, "ix_job_followers" in plans[1]] == [True, True], plans


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines)
def test_a_page_has_the_rows_of_a_state_and_those_that_need_a_person(shelf, given_lines):
    batch = filled(shelf, given_lines)
    found = list(shelf.facts.lines(batch))
    for state in (*JobState, *LineState):
        page = page_of_rows(shelf.database, shelf.keyring, batch, after=2, most=25, state=state)
        assert [one.row for one in page] == [one.row for one in found if one.state == state and one.row > 2]
    needing = [one.row for one in found if one.state in ("held", "failed", "rejected")]
    assert [one.row for one in rows_in_need(shelf.database, batch)] == needing
    assert [one.row for one in rows_in_need(shelf.database, batch, most=2)] == needing[:2]


def test_a_row_whose_result_no_webhook_has_brought_says_so(shelf, feed):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    reference = {row.customer_id: row.reference for row in shelf.rows(SessionRow)}
    feed.receive(replace(APPROVED, match=((Key.SCAN_REF, reference["Ona"]),)))
    shelf.set(Job, Job.customer_id == "Jonas", state=JobState.COMPLETED, result="approved")
    page = page_of_rows(shelf.database, shelf.keyring, batch, after=0, most=9)
    assert {one.customer_id: one.verdict for one in page} == {"Ona": Verdict.SIGNED, "Jonas": Verdict.NOT_SIGNED}


def test_open_sessions_are_told_from_calls_to_come_and_those_that_end_in_the_hour_are_found_by_the_index(
    shelf, database, clock
):
    batch = shelf.add(*(customer(f"C-{number}") for number in range(3)))
    shelf.issue()
    shelf.add(customer("Later"), batch=batch, first_row=5)
    shelf.set(SessionRow, SessionRow.customer_id == "C-0", expires_at=clock() + timedelta(minutes=30))
    with plans_of(database, "FROM job JOIN session", is_small=True) as plans:
        found = kept_back(database, now=clock())

    assert {(one.is_open, one.rows, one.ending) for one in found} == {(True, 3, 1), (False, 1, 0)}
    assert {(one.account, one.channels, one.is_paused) for one in found} == {("kyc", ("email",), False)}
    assert ["ix_session_link" in plan for plan in plans] == [True], plans
