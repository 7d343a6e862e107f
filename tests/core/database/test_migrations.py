"""The schema: numbered migrations make it, up and down, and it matches the models on both databases."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from onboarding_worker.core.claim.attempt_log import CLOSE
from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.schema import NotReady, all_metadata, all_tables
from onboarding_worker.core.database.tables import Attempt, Batch
from onboarding_worker.core.database.tables.types import OPTIONS
from onboarding_worker.core.model.endings import Hold, Kind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.wiring.opening import check_ready
from tests.core.database.downgrading import downgrade
from tests.stored.recount import expect_true_counts
from tests.stored.shelf import Shelf, customer

# An index with an expression is not read from SQLite. The texts of all indexes are compared.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index"),
    pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index"),
]


@pytest.fixture(params=["sqlite", "postgresql"])
def make_empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    made: list[Database] = []

    def make() -> Database:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path / f'{len(made)}.db'}"
        else:
            url = request.getfixturevalue("make_postgresql")()
        made.append(Database(url))
        return made[-1]

    yield make
    for database in made:
        database.close()


@pytest.fixture
def empty(make_empty: Callable[[], Database]) -> Database:
    return make_empty()


MODELS = {table.name for table in all_tables()}
# Installations have run these as they are.
KEPT = {
    "0001_create_tables.py": "d5a6c0867defa365ad62ff096a092b79ae45d4bc35ea4db7de051fa0bdcf2958",
    "0002_count_rows.py": "b5ea28550688a60ff64f165e8f457b1f0a601c3960598b601d1e9a4cff4226f0",
}


def tables(database: Database) -> set[str]:
    """Those that have a model: a feature that was taken out leaves its tables behind."""
    return MODELS & {*sa.inspect(database.engine).get_table_names()}


def indexes(database: Database) -> set[str]:
    """The text of each index with its predicate and expressions, which Alembic does not compare."""
    query = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    if database.is_sqlite:
        query = "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    with database.read() as connection:
        found = connection.execute(sa.text(query)).all()
    return {re.sub(r'[\s"]+', " ", text) for table, text in found if table in MODELS}


def test_the_schema_goes_up_down_and_up_again(empty):
    schema.upgrade(empty)
    assert tables(empty) == MODELS
    downgrade(empty, "base")
    assert tables(empty) == set()
    schema.upgrade(empty)
    assert tables(empty) == MODELS


@pytest.mark.both_databases
def test_each_single_step_goes_down_and_up(empty, next_release):
    schema.upgrade(empty, migrations=next_release)
    revisions = [script.revision for script in ScriptDirectory(str(next_release)).walk_revisions()]
    assert revisions[0] == schema.newest(next_release) != schema.newest()
    for lower in [*revisions[1:], "base"]:
        downgrade(empty, lower, migrations=next_release)
        assert schema.current(empty) == (None if lower == "base" else lower)
    for revision in reversed(revisions):
        schema.upgrade(empty, revision, migrations=next_release)
        assert schema.current(empty) == revision


def test_rows_from_before_the_kept_counts_are_counted(empty, keyring, clock):
    schema.upgrade(empty)
    shelf = Shelf(empty, keyring, clock)
    shelf.add(*(customer(name) for name in ("Ona", "Jonas", "Rasa")))
    opened = shelf.open(shelf.claim())
    shelf.finish(*map(shelf.got, opened[:2]), shelf.failed(opened[2], Kind.TRANSIENT, Hold(Reason.UNKNOWN, "HTTP 500")))
    shelf.send()
    shelf.add(customer("Ona"))  # joins the first one
    batches = [row.id for row in shelf.rows(Batch)]
    before = [shelf.facts.counts(batch) for batch in batches]
    downgrade(empty, "0001")
    schema.upgrade(empty)
    assert [shelf.facts.counts(batch) for batch in batches] == before
    expect_true_counts(empty)


def test_a_file_of_migrations_is_named_by_its_revision(next_release):
    revisions = {script.revision for script in ScriptDirectory(str(next_release)).walk_revisions()}

    assert schema.known(next_release) == revisions
    assert schema.known() < revisions


@pytest.mark.both_databases
def test_a_revision_that_is_not_known_is_refused_and_a_database_without_a_table_has_none(empty, next_release):
    assert schema.current(empty) is None
    schema.upgrade(empty, migrations=next_release)
    with pytest.raises(schema.NotMigrated):
        schema.upgrade(empty)
    assert schema.current(empty) == schema.newest(next_release)


def test_only_what_migrates_loads_alembic():
    loads = [
        path.name
        for path in Path(schema.__file__).parents[2].rglob("*.py")
        if re.search("^(from|import) alembic", path.read_text(), re.M)
    ]
    assert loads == []


def test_upgrading_twice_changes_nothing(empty):
    schema.upgrade(empty)
    before = indexes(empty), tables(empty)
    schema.upgrade(empty)
    assert (indexes(empty), tables(empty)) == before


def test_the_migrations_make_the_schema_of_the_models(empty):
    schema.upgrade(empty)
    with empty.engine.connect() as connection:
        compared = {
            "include_object": lambda _, name, kind, *_more: name in MODELS if kind == "table" else kind != "index"
        }
        context = MigrationContext.configure(connection, opts={"compare_type": True, **compared})
        assert compare_metadata(context, all_metadata()) == []


def test_alembic_by_hand_finds_no_difference_either(empty):
    schema.upgrade(empty)
    config = Config(Path(__file__).parents[3] / "alembic.ini")
    with empty.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def test_a_database_that_is_only_read_has_the_tables_of_the_migrations_and_is_ready(make_empty, tmp_path):
    migrated, read = make_empty(), Database(f"sqlite:///{tmp_path / 'read.db'}")
    schema.upgrade(migrated)
    schema.make_unmigrated(read)
    assert schema.why_not_ready(read) is None
    assert tables(read) == tables(migrated)
    with migrated.read() as theirs, read.read() as ours:
        head = sa.text("SELECT * FROM audit_head")
        assert ours.execute(head).all() == theirs.execute(head).all()
    read.close()


def test_the_migrations_make_every_index_with_its_predicate_and_expressions(make_empty):
    migrated, made = make_empty(), make_empty()
    schema.upgrade(migrated)
    all_metadata().create_all(made.engine)
    assert indexes(migrated) == indexes(made)
    assert any("WHERE" in index for index in indexes(migrated))


def constraints(database: Database) -> dict[str, object]:
    """By table: the names of its constraints, and the defaults of its columns."""
    inspector = sa.inspect(database.engine)
    return {
        table: (
            inspector.get_pk_constraint(table)["name"],
            {key["name"] for key in inspector.get_foreign_keys(table)},
            {key["name"] for key in inspector.get_unique_constraints(table)},
            {column["name"]: column["default"] for column in inspector.get_columns(table)},
        )
        for table in tables(database)
    }


def test_the_migrations_make_every_constraint_by_its_name_and_every_default(make_empty):
    migrated, made = make_empty(), make_empty()
    schema.upgrade(migrated)
    all_metadata().create_all(made.engine)
    assert constraints(migrated) == constraints(made)
    assert "pk_job" in constraints(migrated)["job"]


def test_tables_that_change_a_lot_are_vacuumed_often_on_postgresql(make_postgresql):
    database = Database(make_postgresql())
    schema.upgrade(database)
    with database.read() as connection:
        options = dict(
            connection.execute(sa.text("SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL")).all()
        )
    database.close()
    assert {"attempt", "budget", "invitation", "job", "outbox", "session", "bounce_count", "webhook"} <= options.keys()
    assert "fillfactor=50" in options["attempt"]
    assert "fillfactor=10" in options["budget"]
    assert "autovacuum_vacuum_scale_factor=0.02" in options["job"]
    assert "autovacuum_analyze_scale_factor=0.02" in options["session"]


OTHER_TEXTS = sa.text("""
    SELECT attrelid::regclass || '.' || attname
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_collation ON pg_collation.oid = attcollation
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version' AND collname <> 'C'
""")


def test_postgresql_compares_all_texts_by_their_bytes_whatever_the_locale(make_postgresql):
    database = Database(make_postgresql())
    schema.upgrade(database)
    with database.read() as connection:
        assert connection.execute(OTHER_TEXTS).scalars().all() == []
    database.close()


def test_closing_an_attempt_changes_nothing_that_an_index_knows():
    """PostgreSQL then writes no index when an attempt is closed: a million jobs close two million attempts."""
    assert Attempt.__table__.indexes
    for index in Attempt.__table__.indexes:
        known = {column.name for column in index.columns} | set(
            re.findall(r"\w+", str(index.info.get(OPTIONS, {}).get("postgresql_where")))
        )
        # `found` changes for few attempts. For all other attempts it stays the same, which writes no index.
        assert known.isdisjoint(CLOSE.columns - {"found"}), index.name


def test_an_index_that_is_built_while_workers_run_has_the_requested_rows(empty, next_release):
    schema.upgrade(empty)
    before = indexes(empty)
    schema.upgrade(empty, migrations=next_release)
    (new,) = indexes(empty) - before
    assert re.search(r"ix_attempt_opened_at.* \(account, opened_at\) WHERE \(?status IS NOT NULL\)?$", new)


@pytest.fixture
def half_upgraded(make_postgresql: Callable[[], str]) -> Iterator[Database]:
    """A database whose upgrade to the next release stopped after the first index."""
    database = Database(make_postgresql())
    schema.upgrade(database)
    with database.write() as connection:
        connection.execute(sa.text("CREATE INDEX ix_attempt_opened_at ON attempt (account, opened_at)"))
    yield database
    database.close()


VALID = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_attempt_opened_at'::regclass")


def test_an_index_whose_build_was_interrupted_is_built_again(half_upgraded, next_release):
    cut_off = sa.text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_attempt_opened_at'::regclass")
    with half_upgraded.write() as connection:
        connection.execute(cut_off)
    schema.upgrade(half_upgraded, migrations=next_release)
    with half_upgraded.read() as connection:
        assert connection.execute(VALID).scalar() is True


def test_no_index_is_built_while_a_table_that_workers_use_is_locked(make_postgresql, next_release):
    database = Database(make_postgresql())
    built: list[str] = []
    concurrent: list[str] = []
    new: set[str] = set()

    def see(_connection, _cursor, statement, *_more):
        if made := re.search(r"CREATE TABLE (\w+)", statement):
            new.add(made[1])  # no worker uses it yet
        on = re.search(r"CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?\w+ ON (\w+)", statement)
        if on and on[2] not in new:
            (concurrent if on[1] else built).append(statement)

    schema.upgrade(database, "0001")
    sa.event.listen(database.engine, "before_cursor_execute", see)
    schema.upgrade(database, migrations=next_release)
    database.close()
    assert built == []
    assert concurrent  # otherwise the test has compared nothing


def test_files_are_numbered_in_the_order_of_their_chain():
    scripts = list(reversed(list(ScriptDirectory(str(schema.MIGRATIONS)).walk_revisions())))
    for number, script in enumerate(scripts, start=1):
        assert script.revision == f"{number:04}"
        assert re.fullmatch(rf"{number:04}_[a-z0-9_]+\.py", Path(script.path).name)
        assert script.down_revision == (f"{number - 1:04}" if number > 1 else None)
        # expand, backfill, contract: the steps that the previous release can run with; "create" made the first tables
        assert re.match(r"(create|expand|backfill|contract): ", script.doc)
    assert len(scripts) == len(list((schema.MIGRATIONS / "versions").glob("*.py")))


def test_a_migration_that_installations_have_run_is_never_edited():
    found = {name: hashlib.sha256((schema.MIGRATIONS / "versions" / name).read_bytes()).hexdigest() for name in KEPT}

    assert found == KEPT, "leave it as it was: a change of the schema is a migration of its own, with the next number"


def test_an_empty_database_is_not_ready_and_says_what_to_run(empty):
    assert schema.why_not_ready(empty) == "the database is empty: run `onboard db upgrade`"


def test_a_migrated_database_is_ready(empty):
    schema.upgrade(empty)
    assert schema.why_not_ready(empty) is None


def test_a_database_of_a_newer_release_asks_for_a_newer_worker(empty):
    schema.upgrade(empty)
    with empty.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    why = schema.why_not_ready(empty)
    assert "9999" in why
    assert "upgrade the worker" in why


def test_a_database_of_a_newer_release_is_outdated_for_this_worker_and_an_empty_one_is_not(empty):
    assert schema.outdated(empty) is None  # an empty database is reported by `why_not_ready`
    schema.upgrade(empty)
    assert schema.outdated(empty) is None
    with empty.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert schema.outdated(empty) == schema.why_not_ready(empty)


def test_a_database_that_cannot_be_reached_is_reported_without_its_password():
    # Port 1 is reserved for tcpmux: no process listens there.
    unreachable = Database("postgresql+psycopg://onboarding:s3cret-word@127.0.0.1:1/onboarding")
    with pytest.raises(NotReady) as caught:
        check_ready(unreachable)
    unreachable.close()
    assert str(caught.value).startswith("the database cannot be used: ")
    assert "s3cret-word" not in str(caught.value)
