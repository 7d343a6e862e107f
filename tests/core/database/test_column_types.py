"""Columns of tables: what is written into each type, what is read, and what an annotation makes of a column."""

import runpy
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from onboarding_worker.core.database import fast
from onboarding_worker.core.database.database import known, made_of
from onboarding_worker.core.database.fast.many_rows import sent
from onboarding_worker.core.database.tables.columns import ColumnOf, TableClass, aliased, column
from onboarding_worker.core.database.tables.types import (
    OPTIONS,
    Base,
    NotKnown,
    UnknownWord,
    UtcDateTime,
    Words,
    index,
    member_of,
    one_where,
    partial,
    word_of,
)
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.model.states import JobState

SQLITE, POSTGRESQL = sqlite.dialect(), postgresql.dialect()
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EAST = datetime(2026, 11, 20, 14, 0, tzinfo=timezone(timedelta(hours=2)))


def test_a_time_is_stored_in_utc_and_read_aware():
    kind = UtcDateTime()
    naive = NOON.replace(tzinfo=None)
    assert kind.process_bind_param(EAST, SQLITE) == naive
    stored = kind.process_bind_param(EAST, POSTGRESQL)
    assert (stored, stored.tzinfo) == (NOON, UTC)
    assert kind.process_result_value(naive, SQLITE) == NOON
    assert kind.result_processor(POSTGRESQL, None) is None  # its times come aware
    for dialect in (SQLITE, POSTGRESQL):
        assert kind.process_bind_param(None, dialect) is kind.process_result_value(None, dialect) is None
        with pytest.raises(ValueError, match="naive"):
            kind.process_bind_param(naive, dialect)


def test_a_word_is_stored_as_it_is_and_one_that_is_not_known_is_read_as_no_member():
    words = Words(Channel)
    read = words.result_processor(SQLITE, None)
    assert [words.process_bind_param(given, SQLITE) for given in (Channel.SMS, "sms", None)] == ["sms", "sms", None]
    assert [read(stored) for stored in ("sms", None)] == [Channel.SMS, None]
    unknown = read("pigeon")
    assert (type(unknown), unknown == "pigeon", unknown.value) == (UnknownWord, True, "pigeon")
    written = words.process_bind_param(unknown, SQLITE)
    assert (written, type(written)) == ("pigeon", str)  # a driver knows no other kind of text
    with pytest.raises(ValueError, match="pigeon"):
        words.process_bind_param("pigeon", SQLITE)
    assert word_of(Channel, "sms") is Channel.SMS
    assert isinstance(word_of(Channel, "pigeon"), UnknownWord)
    assert member_of(Channel, "sms") is Channel.SMS
    with pytest.raises(NotKnown):
        member_of(Channel, "pigeon")


def test_a_row_with_a_word_that_is_not_known_is_not_worked():
    good, bad = (1, JobState.HELD, "queued"), (1, UnknownWord("queued"))
    assert known(good) == good
    assert [known("queued"), known(7), known(None)] == ["queued", 7, None]  # values alone
    assert known(UnknownWord("queued")) == "queued"  # of no row
    with pytest.raises(NotKnown) as error:
        known(bad)
    assert "queued" not in str(error.value)


def test_a_dataclass_is_made_of_a_rows_columns_and_of_what_is_given_besides():
    connection = sa.create_engine("sqlite://", poolclass=sa.NullPool).connect()
    query = "SELECT 'https://x.test' AS link, '12' AS digits, 'v' AS vendor, 7 AS other"
    row = connection.exec_driver_sql(query).one()
    assert made_of(Opening, row, vendor="w") == Opening("https://x.test", "12", "w")
    connection.close()


class OfTests(TableClass):
    metadata = sa.MetaData()
    type_annotation_map = {**Base.type_annotation_map}  # noqa: RUF012


class Thing(OfTests):
    __tablename__ = "thing"
    __table_args__ = (sa.UniqueConstraint("name"), {"sqlite_autoincrement": True})

    id: ColumnOf[int] = column(primary_key=True)
    name: ColumnOf[str]
    seen_on: ColumnOf[date | None]
    code: ColumnOf[str | None] = column(sa.String(3), doc="A code.")
    must: ColumnOf[date | None] = column(nullable=False)


class Plain(OfTests):
    __tablename__ = "plain"
    id: ColumnOf[int] = column(primary_key=True)


def test_a_class_is_a_table_whose_annotations_say_what_its_columns_are():
    made = {one.key: (str(one.type), one.nullable) for one in Thing.__table__.columns}
    assert made == {
        "id": ("INTEGER", False),
        "name": ("VARCHAR", False),
        "seen_on": ("DATE", True),
        "code": ("VARCHAR(3)", True),
        "must": ("DATE", False),
    }
    assert (Thing.code.doc, Thing.name.table.name) == ("A code.", "thing")
    assert Thing.__table__.dialect_options["sqlite"]["autoincrement"] is True
    assert [type(one).__name__ for one in Thing.__table__.constraints if one.columns.keys() == ["name"]] == [
        "UniqueConstraint"
    ]
    assert Plain.__table__.dialect_options["sqlite"]["autoincrement"] is False


def test_a_table_stands_a_second_time_in_one_statement_under_another_name():
    other = aliased(Thing)
    query = sa.select(Thing.id, other.id).join(other, other.name == Thing.code)
    assert str(query).count("FROM thing JOIN thing AS thing_1 ON thing_1.name = thing.code") == 1


def test_an_index_says_each_database_its_own_options():
    made = {
        "all": index("all", "name", postgresql_using="brin"),
        "some": partial("some", "name", where="code > ''", unique=True),
        "one": one_where("one", "name", where="code = 'a'"),
    }
    sa.Table("thing", sa.MetaData(), sa.Column("name", sa.String), sa.Column("code", sa.String), *made.values())
    assert {name: one.unique for name, one in made.items()} == {"all": False, "some": True, "one": True}
    assert made["all"].info == {OPTIONS: {"postgresql_using": "brin"}}
    options = made["some"].info[OPTIONS]
    assert {name: str(text) for name, text in options.items()} == dict.fromkeys(
        ("postgresql_where", "sqlite_where"), "code > ''"
    )
    assert str(made["one"].expressions[-1]) == "(CASE WHEN code = 'a' THEN 1 END)"
    assert partial("any", "name", where="code > ''").unique is False


def test_psycopg_is_sent_the_form_of_values_that_each_column_takes():
    types = {"at": UtcDateTime(), "word": sa.String(), "text": sa.String(3), "json": sa.JSON(), "n": sa.Integer()}
    columns = {
        "at": [EAST, None],
        "word": [JobState.HELD, None],
        "text": ["a", None],
        "json": [{"a": ["ü"]}, None],
        "n": [1, None],
    }
    given = sent(types, columns)
    assert given == {
        "given_at": [EAST, None],
        "given_word": ["held", None],
        "given_text": ["a", None],
        "given_json": ['{"a":["ü"]}', None],
        "given_n": [1, None],
    }
    assert type(given["given_word"][0]) is str  # psycopg would write the name of the member
    with pytest.raises(ValueError, match="naive"):
        sent(types, columns | {"at": [NOON, NOON.replace(tzinfo=None)]})


@pytest.mark.parametrize(
    ("named", "plain"), [("", set()), ("tally,,arrays", {"tally", "arrays"}), ("all", set(fast.Twin))]
)
def test_the_environment_names_the_plain_forms(monkeypatch, named, plain):
    monkeypatch.setenv("ONBOARDING_PLAIN", named)
    assert set(runpy.run_path(fast.__file__)["plain"]) == plain


def test_a_form_that_there_is_not_is_refused(monkeypatch):
    monkeypatch.setenv("ONBOARDING_PLAIN", "tally,typo")
    with pytest.raises(ValueError, match="typo"):
        runpy.run_path(fast.__file__)
