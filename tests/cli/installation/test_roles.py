"""Three roles of PostgreSQL: one migrates, one runs, one reports; each is refused what the others do."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.schema import all_tables
from onboarding_worker.core.database.tables import Audit, AuditHead, SessionRow
from onboarding_worker.wiring.store.encrypted_columns import DIGESTS, ENCRYPTED
from tests.conftest import POSTGRESQL, service_or_skip
from tests.desk.desk import Desk, Played, customers
from tests.suite.of_features import needs

ROLES = ("migrate", "run", "report")
DENIED = ("permission denied", "must be owner")
# What the role that runs is refused: the schema, and the past of the audit log.
NOT_RUN = [
    "CREATE TABLE mine (id integer)",
    "ALTER TABLE job ADD COLUMN mine integer",
    "DROP TABLE attempt",
    "TRUNCATE job",
    "DROP TRIGGER audit_change ON audit",
    "ALTER TABLE audit DISABLE TRIGGER audit_change",
    "SET session_replication_role = replica",
    "UPDATE audit SET actor = 'nobody'",
    "UPDATE audit SET reason = ''",
    "DELETE FROM audit",
    "TRUNCATE audit",
    "DELETE FROM audit_head",
    "UPDATE alembic_version SET version_num = '0000'",
    "CREATE ROLE mine",
]
SIGNATURES = (AuditHead.digest, SessionRow.verdict_digest)
HIDDEN = [(column.value.table.name, column.value.key) for column in ENCRYPTED] + [
    (column.digest.table.name, column.digest.key) for column in DIGESTS if column.digest not in SIGNATURES
]


@pytest.fixture(scope="module")
def url(begun: Path) -> Iterator[Callable[[str], str]]:
    """A database whose tables the role that migrates has made, and which the two others have rights on; gives the
    address of each. One for all tests: to drop a database, the server writes all that it has to the disk."""
    server = sa.create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def run(statement: str) -> None:
        with server.connect() as connection:
            connection.exec_driver_sql(statement)

    service_or_skip("PostgreSQL", lambda: run("SELECT 1"))
    # With a capital and a hyphen: names are quoted.
    name = f"Roles-{uuid.uuid4().hex[:12]}"

    def address(role: str) -> str:
        return server.url.set(database=name, username=f"{name}_{role}").render_as_string(hide_password=False)

    for role in ROLES:
        run(f'CREATE ROLE "{name}_{role}" LOGIN')
    run(f'CREATE DATABASE "{name}" OWNER "{name}_migrate"')
    try:
        desk = Desk(begun, {"ONBOARDING__DATABASE__URL": address("migrate")})
        assert desk.onboard("db", "upgrade").code == 0
        granted = desk.onboard("db", "grant", "--run", f"{name}_run", "--report", f"{name}_report")
        assert (granted.code, granted.err) == (0, "")
        yield address
    finally:
        run(f'DROP DATABASE "{name}" WITH (FORCE)')
        for role in ROLES:
            run(f'DROP ROLE "{name}_{role}"')


@pytest.fixture
def as_role(desk: Desk, url: Callable[[str], str]) -> Callable[[str], Desk]:
    """The desk as one role."""

    def be(role: str) -> Desk:
        desk.environ["ONBOARDING__DATABASE__URL"] = url(role)
        return desk

    return be


def _name(url: str) -> str:
    return str(sa.make_url(url).username)


def allowed(url: str, *statements: str) -> list[str]:
    """Those of the statements that are not refused. None of them has an effect."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [statement for statement in statements if not _refused(connection, statement)]


def _refused(connection: sa.Connection, statement: str) -> bool:
    try:
        connection.exec_driver_sql(statement)
    except sa.exc.ProgrammingError as error:
        return any(word in str(error) for word in DENIED)
    finally:
        connection.rollback()
    return False


def test_a_batch_is_migrated_run_and_reported_by_three_roles(as_role, url, played: Played):
    run, listed = as_role("run"), "customers.csv"
    run.list_of(customers(3), listed)

    ended = run.onboard("run", listed, "--json")
    held = [
        run.onboard(*words.split()).code
        for words in ("pause latest", "resume latest", "account list", "suppress a@b.example")
    ]
    migrated = run.onboard("db", "upgrade")
    report = as_role("report")
    shown = report.onboard("report", "latest").table
    others = [report.onboard(*words.split()).code for words in ("status", "status latest", "account list")]

    assert (ended.code, ended.facts["rows"]["invited"], len(played.sandbox.mailbox)) == (0, 3, 3)
    assert held == [0, 0, 0, 0]
    assert (migrated.code, "is at revision" in migrated.out) == (0, True)  # nothing to do
    assert [line["state"] for line in shown] == ["invited"] * 3
    assert others == [0] * len(others)


def test_the_role_that_reports_reads_on_in_an_older_copy_and_says_so(as_role):
    run = as_role("run")
    run.add('[privacy]\njournal = "onboarding.journal"\n')
    run.onboard("import", run.list_of(customers(1)))
    mark = run.path / "onboarding.journal.mark"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"number": 1000}))

    shown = as_role("report").onboard("status")

    assert (shown.code, "customers" in shown.out) == (0, True)
    assert "the database is an older copy than its journal knows" in shown.err


@pytest.mark.parametrize(
    "command",
    [
        "report latest --with-links",
        "pause latest",
        pytest.param("customer show C-0001", marks=needs("service_desk")),
        "import customers.csv",
    ],
)
def test_the_role_that_reports_decides_nothing_and_shows_no_link(as_role, command: str):
    as_role("run").onboard("import", as_role("run").list_of(customers(1)))

    ended = as_role("report").onboard(*command.split())

    assert ended.code == 2
    assert "permission denied" in ended.err
    assert "://" not in ended.out


def test_the_role_that_runs_changes_no_schema_and_no_entry_of_the_audit_log(as_role, url):
    as_role("run").onboard("import", as_role("run").list_of(customers(1)))

    assert allowed(url("run"), *NOT_RUN) == []


def test_the_role_that_reports_writes_nothing_and_reads_nothing_that_is_encrypted(as_role, url):
    tables = [f'"{table.name}"' for table in all_tables()]
    tried = [f"{what} {table}" for table in tables for what in ("DELETE FROM", "TRUNCATE")]
    tried += [f'SELECT {column} FROM "{table}"' for table, column in HIDDEN]  # noqa: S608 -- names of ours
    tried += [f'SELECT * FROM "{table}"' for table in {table for table, _ in HIDDEN}]  # noqa: S608
    tried += ["CREATE TABLE mine (id integer)", "INSERT INTO timer VALUES ('x', now())"]

    assert allowed(url("report"), *tried) == []
    assert allowed(url("report"), 'SELECT id, customer_id, state FROM "session"')


def test_the_role_that_migrates_need_not_be_a_superuser_and_owns_every_table(as_role, url):
    engine = sa.create_engine(url("migrate"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public'")
        owners = {owner for _, owner in rows}
        superuser = connection.exec_driver_sql("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").scalar()

    assert owners == {_name(url("migrate"))}
    assert superuser is False


def test_old_audit_entries_are_removed_only_where_it_was_granted(as_role, url):
    delete, grant = "DELETE FROM audit", ("db", "grant", "--run", _name(url("run")))
    assert not allowed(url("run"), delete)

    as_role("migrate").onboard(*grant, "--remove-audit")

    engine = sa.create_engine(url("run"), poolclass=sa.NullPool)
    with pytest.raises(sa.exc.IntegrityError, match="audit"), engine.begin() as connection:
        connection.exec_driver_sql(delete)  # the right is there; the trigger keeps what the chain still has
    as_role("migrate").onboard(*grant)
    assert not allowed(url("run"), delete)


def test_granting_again_takes_back_what_was_given_by_hand(as_role, url):
    read = "SELECT encrypted FROM customer"
    engine = sa.create_engine(url("migrate"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f'GRANT ALL ON audit, customer TO "{_name(url("report"))}"')
    assert allowed(url("report"), read)

    as_role("migrate").onboard("db", "grant", "--report", _name(url("report")))

    assert not allowed(url("report"), read)


def test_granting_is_in_the_audit_log(url):
    engine = sa.create_engine(url("run"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        columns = (Audit.subject, Audit.count.label("number"), Audit.reason)
        grants = sa.select(*columns).where(Audit.action == "db grant").order_by(Audit.id)
        first = connection.execute(grants.limit(1)).one()

    assert (first.subject, first.number) == ("roles", 2)
    assert f"{_name(url('run'))} may run" in first.reason


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--run", "nobody-of-this-name"), "has no role nobody-of-this-name"),
        ((), "give --run ROLE or --report ROLE"),
        (("--report", "x", "--remove-audit"), "--remove-audit is a right of the role of --run"),
    ],
)
def test_a_grant_that_cannot_be_is_refused(as_role, words: tuple[str, ...], says: str):
    ended = as_role("migrate").onboard("db", "grant", *words)

    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err


def test_the_role_that_runs_cannot_grant(as_role, url):
    ended = as_role("run").onboard("db", "grant", "--report", _name(url("report")))

    assert ended.code == 2
    assert "permission denied" in ended.err or "must be owner" in ended.err


def test_sqlite_has_no_roles(desk: Desk):
    ended = desk.onboard("db", "grant", "--run", "x")

    assert (ended.code, ended.out) == (2, "")
    assert "SQLite has no roles" in ended.err
