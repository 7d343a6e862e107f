"""What a job names stays: its customer, and the job that it joins. No foreign key says so, see `store.tables.work`."""

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import CustomerRow, Job
from tests.stored.row_locks import waiting
from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases

REFUSED = "a job names the customer"


def delete(database, customer_id):
    with database.write() as connection:
        connection.execute(sa.delete(CustomerRow).where(CustomerRow.customer_id == customer_id))


def without_job(shelf, database, customer_id):
    row = dict(shelf.row(CustomerRow)._mapping) | {"customer_id": customer_id}
    with database.write() as connection:
        connection.execute(sa.insert(CustomerRow), [row])


def test_a_customer_whom_a_job_names_cannot_be_deleted(shelf, database):
    shelf.add(customer("Ona"))
    without_job(shelf, database, "Rita")
    with pytest.raises(sa.exc.IntegrityError, match=REFUSED):
        delete(database, "Ona")
    delete(database, "Rita")
    assert shelf.row(CustomerRow).customer_id == "Ona"


@pytest.mark.postgresql_alone
def test_a_deletion_waits_for_a_list_that_names_the_customer(shelf, database):
    shelf.add(customer("Ona"))
    without_job(shelf, database, "Rita")
    first = shelf.row(Job)
    new = {"id": first.id + 1, "row": first.row + 1, "customer_id": "Rita", "counted": 0}
    job = dict(first._mapping) | new

    def refused():
        with pytest.raises(sa.exc.IntegrityError, match=REFUSED):
            delete(database, "Rita")

    with waiting(database, refused) as importer:
        importer.execute(sa.select(CustomerRow.customer_id).with_for_update(key_share=True))
        importer.execute(sa.insert(Job), [job])


@pytest.mark.postgresql_alone
def test_a_job_that_another_joins_cannot_be_deleted_alone(shelf, database):
    first = shelf.add(customer("Ona"))
    shelf.add(customer("Ona"))
    with pytest.raises(sa.exc.IntegrityError, match="another job joins this one"), database.write() as connection:
        connection.execute(sa.delete(Job).where(Job.batch_id == first))
