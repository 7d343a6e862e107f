"""A query of many rows returns the same as `fetch`, value by value."""

import pytest
import sqlalchemy as sa

from tests.stored.shelf import customer
from worker.core.customers.customers import Channel
from worker.core.database.database import Query, fetch
from worker.core.database.tables import Attempt, Batch, CustomerRow, InvitationRow, Job, SessionRow
from worker.core.database.tables.types import UnknownWord

pytestmark = pytest.mark.both_databases


def all_of(model):
    table = model.__table__
    return sa.select(*table.columns).where(sa.bindparam("all", type_=sa.Boolean())).order_by(*table.primary_key)


@pytest.fixture
def served(shelf):
    shelf.add(customer("Ona", consent=True, external_ref="ref-1"), customer("Rita", channel=Channel.BOTH))
    shelf.issue()
    shelf.send()


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("model", [Attempt, Batch, CustomerRow, InvitationRow, Job, SessionRow])
def test_it_reads_what_fetch_reads(database, model):
    with database.read() as connection:
        theirs = fetch(connection, all_of(model), {"all": True})
        ours = Query(all_of(model)).fetch(connection, {"all": True})
    assert ours
    assert ours == theirs
    assert ours[0]._fields == theirs[0]._fields
    assert [list(map(type, row)) for row in ours] == [list(map(type, row)) for row in theirs]


@pytest.mark.usefixtures("served")
def test_no_rows_are_an_empty_list(database):
    with database.read() as connection:
        assert Query(all_of(Job)).fetch(connection, {"all": False}) == []


@pytest.mark.usefixtures("served")
def test_a_word_that_no_release_knows_is_read_as_such(database):
    with database.write() as connection:
        connection.execute(sa.text("UPDATE job SET channel = 'pigeon' WHERE customer_id = 'Rita'"))
        rows = Query(all_of(Job)).fetch(connection, {"all": True})
    assert [type(row.channel) for row in rows] == [Channel, UnknownWord]
