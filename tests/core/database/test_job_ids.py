"""A job's id says its batch and its row, and the primary key finds the rows of a batch."""

import pytest
import sqlalchemy as sa

from tests.stored.shelf import customer
from worker.core.database.job_ids import ROWS, job_id, of_batch
from worker.core.database.tables import Job

pytestmark = pytest.mark.both_databases


def test_an_id_says_the_batch_and_the_row():
    assert job_id(7, 42) == 7_000_000_042


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


def test_a_row_is_not_added_twice(shelf):
    shelf.add(customer("Ona"))
    with shelf.database.write() as connection:
        row = dict(connection.execute(sa.select(Job.__table__)).one()._mapping)
        assert row["id"] == job_id(row["batch_id"], row["row"])
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(sa.insert(Job), [row | {"customer_id": "Rita", "purpose": "renewal"}])
