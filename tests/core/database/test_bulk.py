"""A chunk of rows through one statement: the values come back unchanged from both databases."""

import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database import bulk, fast
from onboarding_worker.core.database.bulk import columns_of
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.fast import many_rows
from onboarding_worker.core.database.tables import AddressPlace, Batch, SessionRow
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.core.model.states import SessionState
from tests.stored.plans import plans_of

pytestmark = pytest.mark.both_databases


# Chosen with each statement. Others are chosen where a Database is made, and tests of a process share one.
OF_A_STATEMENT = {fast.Twin.ARRAYS, fast.Twin.EACH_ROW}


@pytest.fixture(autouse=True, params=[fast.plain, OF_A_STATEMENT], ids=["fast", "plain"])
def _forms(request, monkeypatch):
    monkeypatch.setattr(fast, "plain", frozenset(request.param))


NOON = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
TEXTS = ["", "plain", 'it\'s "quoted"', "back\\slash {and} [braces], %s :name", "Šiauliai\n\t漢字 🙂", "NULL", "null"]

RENAME = bulk.Change(Batch.id, {"pause_reason": Batch.pause_cause, "name": sa.bindparam("to")}, by="which")


def row_of(number, text, at=NOON):
    """A row of a table with texts and a time; what the table is for does not matter here."""
    own = {"id": number, "generation": number, "digest": ""}
    return own | {"created_at": at, "pause_cause": "ona", "pause_reason": "look", "name": text}


def test_texts_and_times_come_out_as_they_went_in(database):
    plus_two = datetime(2026, 11, 20, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(number, text) for number, text in enumerate(TEXTS, 1)])
        bulk.add(connection, Batch, [row_of(100, "x", plus_two)])
        rows = fetch(connection, sa.select(Batch.__table__).order_by(Batch.id))
    assert [row.name for row in rows] == [*TEXTS, "x"]
    assert {row.created_at for row in rows[:-1]} == {NOON}
    assert rows[-1].created_at == plus_two


def test_a_row_that_another_has_written_since_it_was_read_is_not_overwritten(database):
    def put(job_id, version):
        place = {"digest": "d", "number": 0, "job_id": job_id, "invitation_id": None, "taken_at": NOON}
        with database.write() as connection:
            key = ("digest", "number")
            return bulk.put(connection, AddressPlace, [place | {"version": version}], key=key, version="version")

    written = [put(job_id, version) for job_id, version in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4)]]
    assert written == [{("d", 0)}, set(), {("d", 0)}, set(), set()]
    assert database.value(sa.select(AddressPlace.job_id)) == 3


def test_a_row_that_is_there_is_skipped_and_left_as_it_is(database):
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(number, "there") for number in (1, 2)])
        assert bulk.add_missing(connection, Batch, {"id": [], "name": []}, key="id") == set()
        more = columns_of([row_of(number, "new") for number in (2, 3)])
        assert bulk.add_missing(connection, Batch, more, key="id") == {2}
        # In the way of these are the id of a row, and another unique key.
        bulk.add_new(connection, Batch, [row_of(3, "again"), row_of(4, "new"), row_of(5, "new") | {"generation": 1}])
    assert [(row.id, row.name) for row in database.rows(sa.select(Batch.id, Batch.name).order_by(Batch.id))] == [
        (1, "there"),
        (2, "there"),
        (3, "new"),
        (4, "new"),
    ]


def test_a_row_whose_key_is_missing_is_refused_where_another_unique_key_is_there(database):
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(1, "there")])
    clash = columns_of([row_of(2, "new") | {"generation": 1}])
    with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
        bulk.add_missing(connection, Batch, clash, key="id")


def test_rows_that_are_asked_for_by_their_ids_are_found_without_reading_the_others(database):
    asked = {"ids": bulk.keys([3, 5])}
    among, others = bulk.among(Batch.id, "ids"), ~bulk.among(Batch.id, "ids")
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(number, "x") for number in range(1, 6)])
        with plans_of(database, "SELECT batch.id", is_small=True) as plans:
            query = sa.select(Batch.id).where(among, Batch.name == "x").order_by(Batch.id)
            assert connection.scalars(query, asked).all() == [3, 5]
        assert connection.scalars(sa.select(Batch.id).where(others).order_by(Batch.id), asked).all() == [1, 2, 4]
    assert plans
    assert not any("SCAN batch" in plan or "Seq Scan on batch" in plan for plan in plans), plans


@pytest.mark.postgresql_alone  # SQLite gets the values themselves
def test_bytes_ids_objects_and_absent_values_come_out_as_they_went_in(database):
    sessions = [
        {
            "id": uuid.uuid4(),
            "encrypted": bytes(range(256)),
            "references": {"entityId": 'e"1', "other": "ü"},
            "state": SessionState.WAITING,
            "replaces": None,
            "check_at": check_at,
            "update_weight": weight,
            "sms_sent": False,
        }
        for check_at, weight in ((None, 1), (NOON, 1_000_000))
    ]
    kinds = {name: SessionRow.__table__.c[name].type for name in sessions[0]}
    with database.read() as connection:
        read = fetch(connection, sa.select(many_rows.given(kinds)), many_rows.sent(kinds, columns_of(sessions)))
    assert [row._asdict() for row in read] == sessions


def test_sqlite_stores_the_same_as_if_each_row_were_written_alone(database):
    if not database.is_sqlite:
        pytest.skip("PostgreSQL gets the values in binary")
    plus_two = timezone(timedelta(hours=2))
    session = {
        "id": uuid.UUID(int=1),
        "customer_id": "C-1",
        "purpose": "onboarding",
        "job_id": 1,
        "account": "kyc",
        "reference": 'it\'s "R"',
        "references": {"entityId": 'e"1', "other": "ü"},
        "vendor": "",
        "encrypted": bytes(range(256)),
        "sms_sent": True,
        "state": SessionState.WAITING,
        "issued_at": datetime(2026, 11, 20, 14, 0, 0, 5, tzinfo=plus_two),
        "expires_at": NOON,
        "expiry_source": ExpirySource.ANSWER,
        "replaces": None,
        "check_at": None,
        "company_id": "",
    }
    ended = bulk.Change(
        SessionRow.id,
        {
            "state": SessionState.EXPIRED,
            "check_at": sa.bindparam("at"),
            "update_weight": SessionRow.update_weight + sa.bindparam("more"),
            "references": sa.bindparam("ids"),
        },
        SessionRow.state == SessionState.WAITING,
        by="which",
    )
    alone = session | {"state": SessionState.EXPIRED, "check_at": NOON, "update_weight": 2, "references": {"a": "b"}}
    stored = []
    for together in (True, False):
        with suppress(_RollBack), database.write() as connection:
            if together:
                bulk.add(connection, SessionRow, [session])
                ended.run(connection, [{"which": session["id"], "ids": {"a": "b"}}], at=NOON, more=2)
            else:
                connection.execute(sa.insert(SessionRow.__table__), alone)
            stored.append(list(connection.exec_driver_sql("SELECT * FROM session")))
            raise _RollBack
    assert stored[0] == stored[1]
    assert len(stored[0]) == 1


class _RollBack(Exception):
    pass


@pytest.mark.postgresql_alone  # SQLite knows no length
def test_a_text_that_is_too_long_is_refused_and_not_cut_off(database):
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(1, "x")])
    for too_long in ([{"which": 1, "to": "x" * 256}], {}), ([{"which": 1}], {"to": "x" * 256}):
        with pytest.raises(sa.exc.DataError), database.write() as connection:
            RENAME.run(connection, too_long[0], **too_long[1])


def test_rows_are_changed_by_what_they_are_given_and_by_what_they_hold(database):
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(number, "before") for number in range(5)])
        RENAME.run(connection, [{"which": number, "to": f"after {number}"} for number in (1, 3)])
        rows = fetch(connection, sa.select(Batch.__table__).order_by(Batch.id))
    assert [row.name for row in rows] == ["before", "after 1", "before", "after 3", "before"]
    assert [row.pause_reason for row in rows] == ["look", "ona", "look", "ona", "look"]


EXTEND = bulk.Change(
    Batch.id,
    {"name": Batch.name + sa.bindparam("name"), "generation": Batch.generation * 10 + sa.bindparam("more")},
    Batch.pause_cause == "ona",
    by="which",
)


def test_a_parameter_is_neither_the_column_of_its_name_nor_a_constant_and_conditions_hold(database):
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(number, "before") for number in range(4)])
        connection.execute(sa.update(Batch).where(Batch.id == 3).values(pause_cause="rita"))
        EXTEND.run(connection, [{"which": which, "name": " after", "more": which + 1} for which in (1, 2, 3)])
        rows = fetch(connection, sa.select(Batch.name, Batch.generation).order_by(Batch.id))
    assert [tuple(row) for row in rows] == [("before", 0), ("before after", 12), ("before after", 23), ("before", 3)]


@pytest.mark.postgresql_alone
def test_without_arrays_postgresql_is_sent_row_by_row(database, monkeypatch):
    monkeypatch.setattr(fast, "plain", frozenset({fast.Twin.ARRAYS}))
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(number, "before") for number in range(3)])
        RENAME.run(connection, [{"which": number} for number in (0, 2)], to="after")
        rows = fetch(connection, sa.select(Batch.name).order_by(Batch.id))
    assert [row.name for row in rows] == ["after", "before", "after"]


IF_ONA = bulk.Change(
    Batch.id,
    {"name": sa.bindparam("to"), "pause_reason": sa.bindparam("why")},
    Batch.pause_cause == "ona",
    by="which",
    equal={"generation": Batch.generation},
    returning=[Batch.pause_cause, Batch.created_at],
)


@pytest.fixture
def batches(database):
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(number, "before") for number in range(4)])
        connection.execute(sa.update(Batch).where(Batch.id == 3).values(pause_cause="rita"))


def change_if(database, which, generations):
    given = {"which": which, "generation": generations, "to": [f"after {number}" for number in which]}
    with database.write() as connection:
        changed = IF_ONA.changed(connection, given, why="looked")
        rows = fetch(connection, sa.select(Batch.__table__).order_by(Batch.id))
    return sorted(changed), [(row.name, row.pause_reason) for row in rows]


@pytest.mark.usefixtures("batches")
def test_only_rows_that_meet_the_conditions_are_changed_and_said(database):
    changed, rows = change_if(database, [0, 1, 3, 7], [0, 9, 3, 7])
    assert [row._asdict() for row in changed] == [{"id": 0, "generation": 0, "pause_cause": "ona", "created_at": NOON}]
    assert rows == [("after 0", "looked"), *[("before", "look")] * 3]


@pytest.mark.usefixtures("batches")
def test_of_two_changes_of_a_row_the_one_that_is_equal_is_made(database):
    changed, rows = change_if(database, [1, 2, 1], [1, 2, 5])
    assert [row.id for row in changed] == [1, 2]
    assert rows[1:3] == [("after 1", "looked"), ("after 2", "looked")]


@pytest.mark.usefixtures("batches")
def test_where_no_row_meets_the_conditions_nothing_is_changed(database):
    changed, rows = change_if(database, [3], [3])
    assert changed == []
    assert rows == [("before", "look")] * 4


def test_what_is_the_same_for_all_rows_is_given_once(database):
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(number, "before") for number in range(3)])
        RENAME.run(connection, [{"which": 0}, {"which": 2}], to="after")
        rows = fetch(connection, sa.select(Batch.__table__).order_by(Batch.id))
    assert [row.name for row in rows] == ["after", "before", "after"]
    assert [row.pause_reason for row in rows] == ["ona", "look", "ona"]


def test_an_empty_chunk_changes_nothing(database):
    with database.write() as connection:
        bulk.add(connection, Batch, [])
        RENAME.run(connection, [])


def test_a_naive_time_is_refused(database):
    with pytest.raises((ValueError, sa.exc.StatementError)), database.write() as connection:
        bulk.add(connection, Batch, [row_of(1, "x", datetime(2026, 11, 20))])  # noqa: DTZ001 -- that is the point


def test_rows_are_found_by_keys(database):
    with database.write() as connection:
        bulk.add(connection, Batch, [row_of(number, text) for number, text in enumerate(TEXTS)])
        by_id = fetch(
            connection, sa.select(Batch.id).where(bulk.among(Batch.id, "ids")), {"ids": bulk.keys([1, 3, 99])}
        )
        by_text = fetch(
            connection, sa.select(Batch.id).where(bulk.among(Batch.name, "texts")), {"texts": bulk.keys(TEXTS[2:5])}
        )
    assert sorted(row.id for row in by_id) == [1, 3]
    assert sorted(row.id for row in by_text) == [2, 3, 4]
