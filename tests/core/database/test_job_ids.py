"""A job's id says its batch and its row, and the primary key finds the rows of a batch."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.job_ids import (
    AS_THEY_CAME,
    IS_LIVE,
    NEWEST_FIRST,
    ROWS,
    among_keys,
    as_they_came,
    batch_of,
    job_id,
    of_batch,
    row_of,
    rows_of,
)
from onboarding_worker.core.database.tables import Job, Permit, SessionRow
from onboarding_worker.core.model.states import LIVE_SESSIONS, SessionState
from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_an_id_says_the_batch_and_the_row():
    assert job_id(7, 42) == 7_000_000_042
    assert (batch_of(7_000_000_042), row_of(7_000_000_042)) == (7, 42)


def test_each_row_of_each_batch_has_an_id_of_its_own():
    edges = [(1, 0), (1, 1), (1, ROWS - 1), (2, 0), (2, ROWS - 1)]
    ids = [job_id(*edge) for edge in edges]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("row", [-1, ROWS])
def test_a_row_that_is_in_no_batch_has_no_id(row):
    with pytest.raises(ValueError, match="rows up to 999,999,999"):
        job_id(1, row)


def test_the_rows_of_a_batch_are_found_behind_a_row(shelf):
    first = shelf.add(customer("Ona"), customer("Rita"), customer("Jonas"))
    second = shelf.add(customer("Vita"))

    def found(batch, **behind):
        with shelf.database.read() as connection:
            query = sa.select(Job.row, Job.customer_id).where(of_batch(batch, **behind)).order_by(Job.id)
            return [row.customer_id for row in connection.execute(query)]

    with shelf.database.read() as connection:
        rows = connection.execute(sa.select(Job.row).where(of_batch(first)).order_by(Job.id)).scalars().all()
    assert found(first) == ["Ona", "Rita", "Jonas"]
    assert found(first, after=rows[0]) == ["Rita", "Jonas"]
    assert found(first, after=rows[-1]) == []
    assert found(second) == ["Vita"]


@pytest.mark.parametrize(("after", "found"), [({}, [1, 2, ROWS - 1]), ({"after": 1}, [2, ROWS - 1])])
def test_no_row_of_a_neighbouring_batch_is_of_a_batch(database, after, found):
    ids = [job_id(batch, row) for batch in (6, 7, 8) for row in (0, 1, 2, ROWS - 1)]
    with database.write() as connection:  # what the table is for does not matter here
        bulk.add(connection, Permit, [{"budget": "", "owner": str(id_), "permits": 0, "until": NOON} for id_ in ids])
    id_ = sa.cast(Permit.owner, sa.BigInteger)
    query = sa.select(id_.label("id")).where(of_batch(7, id_=id_, **after)).order_by(id_)
    assert [row.id for row in database.rows(query)] == [job_id(7, row) for row in found]


def test_rows_of_keys_are_those_of_each_customer_with_the_purpose_of_its_key(shelf):
    first, _ = (
        shelf.add(*(customer(name, purpose=purpose) for name in ("Ona", "Rita", "Jonas")))
        for purpose in ("onboarding", "renewal")
    )
    query = sa.select(Job.customer_id, Job.purpose, Job.batch_id).where(*among_keys(Job)).order_by(Job.id)
    more = query.where(Job.batch_id > sa.bindparam("behind"))
    with shelf.database.read() as connection:
        keys = {("Ona", "onboarding"), ("Rita", "renewal"), ("Vita", "onboarding")}
        assert [(row.customer_id, row.purpose) for row in rows_of(connection, query, keys)] == [
            ("Ona", "onboarding"),
            ("Rita", "renewal"),
        ]
        assert [row.customer_id for row in rows_of(connection, more, keys, behind=first)] == ["Rita"]
        assert rows_of(connection, query, set()) == []


def test_jobs_come_in_the_order_of_their_times_and_then_of_their_ids(shelf):
    shelf.add(customer("Ona"), customer("Rita"))
    shelf.clock.advance(minutes=-1)
    shelf.add(customer("Jonas"))
    came = ["Jonas", "Ona", "Rita"]
    with shelf.database.read() as connection:
        query = sa.select(Job.customer_id, Job.created_at, Job.id)
        for order, names in ((AS_THEY_CAME, came), (NEWEST_FIRST, came[::-1])):
            assert [row.customer_id for row in connection.execute(query.order_by(*order))] == names
        rows = connection.execute(query.order_by(Job.id.desc())).all()
    assert [row.customer_id for row in as_they_came(rows)] == came


def test_only_a_session_that_lives_is_live(ona):
    for state in SessionState:
        ona.set(SessionRow, state=state)
        with ona.database.read() as connection:
            found = connection.execute(sa.select(SessionRow.id).where(IS_LIVE)).all()
        assert bool(found) is (state in LIVE_SESSIONS)


def test_a_row_is_not_added_twice(shelf):
    shelf.add(customer("Ona"))
    with shelf.database.write() as connection:
        row = dict(connection.execute(sa.select(Job.__table__)).one()._mapping)
        assert row["id"] == job_id(row["batch_id"], row["row"])
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(sa.insert(Job), [row | {"customer_id": "Rita", "purpose": "renewal"}])
