"""Sessions that their provider's list calls open although they are over by our clock."""

import pytest

from tests.stored.shelf import customer
from worker.core.database.tables import SessionRow
from worker.core.model.sessions import ExpirySource
from worker.core.model.states import SessionState
from worker.core.unknown.reconciliation import LATEST_LOOK, LONGEST_LIFE
from worker.core.work.store.sessions import outlived


@pytest.mark.parametrize(
    ("changes", "lives_on"),
    [
        ({}, True),
        ({"state": SessionState.STARTED}, True),
        ({"state": SessionState.EXPIRED}, False),
        ({"expiry_source": ExpirySource.ANSWER}, False),
        ({"issued_at": -LONGEST_LIFE}, False),
        ({"expires_at": LATEST_LOOK / 2}, False),
    ],
    ids=["", "started", "known as ended", "the end is the provider's", "older than any lives", "not over yet"],
)
def test_an_end_that_was_only_assumed_is_put_off_where_the_list_knows_better(shelf, changes, lives_on):
    now = shelf.clock()
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    values = {"expiry_source": ExpirySource.FALLBACK, "issued_at": -LONGEST_LIFE / 2, "expires_at": -LATEST_LOOK}
    values |= changes
    values |= {name: now + values[name] for name in ("issued_at", "expires_at")}
    shelf.set(SessionRow, **values)
    ona = shelf.row(SessionRow, customer_id="Ona")
    with shelf.database.write() as connection:
        outlived(connection, {ona.id}, now=now)
    ends = {row.customer_id: row.expires_at for row in shelf.rows(SessionRow)}
    assert ends == {"Ona": now + LATEST_LOOK if lives_on else values["expires_at"], "Jonas": values["expires_at"]}
