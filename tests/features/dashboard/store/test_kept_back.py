"""The customers who are not invited yet, and the sessions that end before they are."""

from datetime import timedelta

import pytest

from tests.stored.plans import plans_of
from tests.stored.shelf import customer
from worker.core.database.tables import SessionRow
from worker.features.dashboard.store.kept_back import kept_back

pytestmark = pytest.mark.both_databases


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
