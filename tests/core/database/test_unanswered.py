"""Statements whose answers nothing waits for: their effects and their errors come with the next one, or the commit."""

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.pq import PipelineStatus, TransactionStatus

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.fast import Twin
from onboarding_worker.core.database.fast.unanswered import UNANSWERED, settle
from onboarding_worker.core.database.tables import Batch
from tests.core.database.test_bulk import row_of
from tests.stored.statements import statements
from tests.suite.twins import only_fast

pytestmark = pytest.mark.both_databases

RENAME = sa.update(Batch).where(Batch.id == sa.bindparam("which")).values(name=sa.bindparam("to"))


def names(database):
    with database.read() as connection:
        return list(connection.execute(sa.select(Batch.name).order_by(Batch.id)).scalars())


def add(connection, *numbers):
    bulk.add(connection, Batch, [row_of(number, str(number)) for number in numbers])


def rename(connection, which, to):
    connection.execute(RENAME, {"which": which, "to": to}, execution_options=UNANSWERED)


def test_the_next_statement_sees_what_the_statements_before_it_did(database):
    with database.write() as connection:
        connection.execute(sa.select(Batch.id)).all()
        add(connection, 1, 2)
        rename(connection, 2, "b")
        assert connection.execute(sa.select(Batch.name).order_by(Batch.id)).scalars().all() == ["1", "b"]
        rename(connection, 1, "a")
        add(connection, 3)
    assert names(database) == ["a", "b", "3"]


@pytest.mark.postgresql_alone
def test_each_transaction_begins_once_and_the_server_has_nothing_to_warn_of(database):
    warnings = []
    for _ in range(2):
        with database.write() as connection:
            connection.connection.driver_connection.add_notice_handler(warnings.append)
            add(connection, len(names(database)) + 1)
            settle(connection)
        with database.read() as connection:
            connection.connection.driver_connection.add_notice_handler(warnings.append)
    assert names(database) == ["1", "2"]
    assert warnings == []


@pytest.mark.postgresql_alone  # SQLite answers at once
@only_fast(Twin.UNANSWERED)
def test_nothing_is_left_outstanding_after_a_commit_or_a_rollback(database):
    with database.write() as connection:
        driver = connection.connection.driver_connection
        settle(connection)
        rename(connection, 1, "a")
        assert driver.pgconn.pipeline_status == PipelineStatus.ON
    assert driver.pgconn.pipeline_status == PipelineStatus.OFF

    def fail():
        with database.write() as connection:
            settle(connection)
            add(connection, 1, 1)  # an error of its own, which the rollback makes good
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.write() as connection:
        add(connection, 1)
    assert names(database) == ["1"]


@pytest.mark.parametrize("after", ["the commit", "the next statement", "settle"])
def test_an_error_is_raised_by_what_waits_for_the_answer_and_nothing_is_kept(database, after):
    went_on = []

    def add_twice():
        with database.write() as connection:
            connection.execute(sa.select(Batch.id)).all()
            add(connection, 5)
            add(connection, 5)
            rename(connection, 5, "five")
            if after == "the next statement":
                connection.execute(sa.select(Batch.id)).all()
            elif after == "settle":
                settle(connection)
            went_on.append(after)

    with pytest.raises(sa.exc.IntegrityError):
        add_twice()
    assert set(went_on) <= {"the commit"}
    assert names(database) == []
    with database.write() as connection:  # the same connection works on
        add(connection, 6)
    assert names(database) == ["6"]


@pytest.mark.postgresql_alone  # SQLite answers at once
def test_a_connection_that_breaks_before_the_answers_come_is_an_outage(database):
    def add_while_it_breaks():
        with database.write() as connection:
            settle(connection)
            own = connection.connection.driver_connection.info.backend_pid
            add(connection, 1)
            with psycopg.connect(**_address(database), autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [own])
            rename(connection, 1, "a")

    with pytest.raises(sa.exc.OperationalError):
        add_while_it_breaks()
    assert names(database) == []


@pytest.mark.postgresql_alone  # SQLite answers at once
@only_fast(Twin.UNANSWERED)
def test_a_transaction_begins_with_its_first_statement_whatever_the_connection_did_before(database):
    with database.read() as connection:
        driver = connection.connection.driver_connection
        assert driver.pgconn.pipeline_status == PipelineStatus.ON  # BEGIN is not waited for
        connection.execute(sa.text("SELECT 1"))
        assert driver.info.transaction_status == TransactionStatus.INTRANS
    with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(sa.text("SELECT 1"))
        assert connection.connection.driver_connection is driver
        level = connection.execute(sa.text("SHOW transaction_isolation")).scalar_one()
        assert (driver.info.transaction_status, level) == (TransactionStatus.INTRANS, "repeatable read")
    database.now()
    assert driver.info.transaction_status == TransactionStatus.IDLE
    with database.read() as connection:
        assert connection.connection.driver_connection is driver
        assert driver.pgconn.pipeline_status == PipelineStatus.ON
        connection.execute(sa.text("SELECT 1"))
        assert connection.execute(sa.text("SHOW transaction_isolation")).scalar_one() == "read committed"


@pytest.mark.postgresql_alone  # SQLite has no time of its own
def test_the_databases_time_is_asked_for_in_one_round_trip_without_a_transaction(database):
    database.now()  # connects
    with statements(database) as sent:
        database.now()
    assert [statement.split()[0] for statement in sent] == ["SELECT"]


def test_an_error_of_many_statements_is_raised_where_they_are_executed(database):
    rename_all = sa.update(Batch).where(Batch.id == sa.bindparam("which")).values(id=sa.bindparam("to"))
    with database.write() as connection:
        add(connection, 1, 2)
    raised = []

    def clash():
        with database.write() as connection:
            try:
                connection.execute(rename_all, [{"which": 1, "to": 3}, {"which": 2, "to": 3}])
            except sa.exc.IntegrityError as error:
                raised.append(error)
                raise

    with pytest.raises(sa.exc.IntegrityError):
        clash()
    assert raised


def _address(database):
    url = database.engine.url
    return {"host": url.host, "port": url.port, "user": url.username, "dbname": url.database}
