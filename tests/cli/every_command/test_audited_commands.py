"""Each command is declared here: it changes what the database holds, shows what is protected, or only reads.

A command that changes something has an entry in the audit log, in the transaction of the change. A new command must be
declared, and does not pass without its entry.
"""

import re
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from onboarding_worker.cli.registry import main_group
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.wiring.os_user import os_user
from onboarding_worker.wiring.store.encrypted_columns import uses_of_digest_keys, uses_of_keys
from tests.cli.every_command.test_needs import paths_of
from tests.desk.desk import DATABASE, Desk, customers
from tests.suite.of_features import of_features

# Sets the stage: what the command finds. The desk has batch 1, with two rows that nobody has worked.
FAILED = "UPDATE job SET state = 'failed', reason = 'bad_input', due_at = NULL"
HELD = "UPDATE job SET state = 'held', reason = 'unknown', due_at = NULL"
PAUSED = "UPDATE batch SET pause_cause = 'person', paused_at = created_at"
SUPPRESSED = "INSERT INTO suppression VALUES ('gone', x'00', 'email', 'manual', 'x', '2026-01-01', NULL, NULL)"
STOPPED = "UPDATE budget SET stopped_at = '2026-01-01 00:00:00', stop_reason = 'bad credentials'"
UNKNOWN = (
    "INSERT INTO webhook (id, source, digest, event, received_at, state, attempts, detail, encrypted)"
    " VALUES ('0192f000000070008000000000000000', 'account/kyc', 'd', 'x', '2026-01-01', 'unknown', 1, '', x'00')"
)
HALTED = "INSERT INTO emergency_stop VALUES (1, '2026-01-01 00:00:00', 'ada', 'the wrong list')"
LIST = "more.csv"

# Commands that change rows: the table of the decision, and the stage.
CHANGES = {
    "account resume kyc": ("budget", STOPPED),
    "cancel 1 --yes": ("batch", ""),
    f"import {LIST}": ("batch", ""),
    "pause 1": ("batch", ""),
    "resolve 1 --abandon --yes": ("job", HELD),
    "resume 1": ("batch", PAUSED),
    "resume --all": ("emergency_stop", HALTED),
    "retry 1": ("job", FAILED),
    f"run {LIST}": ("batch", ""),
    "stop --reason wrong": ("emergency_stop", ""),
    "suppress --forget-unknown --yes": ("suppression", SUPPRESSED),
    "suppress vita@example.com": ("suppression", ""),
    "events webhooks done 0192f000-0000-7000-8000-000000000000": ("webhook", UNKNOWN),
    "events webhooks retry": ("webhook", UNKNOWN),
    **dict(of_features("CHANGES")),
}
# Commands that show what is protected, or do what takes many transactions: an entry comes before that.
BEFORE = {
    "report 1 --with-links",
    "suppress --check vita@example.com",
    "template send --to vita@example.com",
    *of_features("BEFORE"),
}
READS = {
    "account list",
    "check more.csv",
    "report 1",
    "resolve 1 --abandon --dry-run",
    "retry 1 --dry-run",
    "status",
    "suppress --list",
    "template preview",
    "events webhooks list",
    *of_features("READS"),
}
# What these processes do is done by events, each with its entry, or follows from rows that a person has decided about.
PROCESSES = {"beat", "bus", "up", "web", "worker", *of_features("PROCESSES")}
# Nothing of the database: files, standard output, or a simulation.
WITHOUT_DATABASE = {"completion", "init", "demo", "sandbox", "template export", *of_features("WITHOUT_DATABASE")}
# Their entries are tested where their brokers, databases and links are: test_bus.py, test_roles.py,
# test_set_up.py, test_database_copy.py.
ELSEWHERE = {
    "events dead list",
    "events dead requeue",
    "events dead show",
    "events dead drop",
    "db copy",
    "db grant",
    "db upgrade",
    *of_features("ELSEWHERE"),
}
# What any command writes besides: which processes run, the budgets' rows, the chain of the audit log, the schema.
HOUSEKEEPING = {"process", "metric_count", "timer", "budget", "audit_head", "alembic_version"}


class Transactions:
    """The tables that each committed transaction has inserted into, updated, or deleted from, in their order."""

    _WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\s+(?:OR \w+ )?(?:INTO |FROM )?\"?(\w+)", re.IGNORECASE)

    def __init__(self) -> None:
        self._open: defaultdict[object, set[tuple[str, str]]] = defaultdict(set)
        self.committed: list[set[tuple[str, str]]] = []

    def statement(self, connection, _cursor, statement, *_):
        if found := self._WRITES.match(statement):
            self._open[connection.connection.dbapi_connection].add((found[1].upper(), found[2]))

    def commit(self, connection):
        writes = self._open.pop(connection.connection.dbapi_connection, set())
        self.committed += [writes] if writes else []

    def rollback(self, connection):
        self._open.pop(connection.connection.dbapi_connection, None)

    def of(self, table: str) -> list[set[tuple[str, str]]]:
        return [writes for writes in self.committed if table in {name for _, name in writes}]

    @property
    def tables(self) -> set[str]:
        return {name for writes in self.committed for kind, name in writes if (kind, name) != ("UPDATE", "audit")}


@pytest.fixture
def transactions() -> Iterator[Transactions]:
    seen = Transactions()
    listens = {"before_cursor_execute": seen.statement, "commit": seen.commit, "rollback": seen.rollback}
    for name, listener in listens.items():
        sa.event.listen(sa.Engine, name, listener)
    yield seen
    for name, listener in listens.items():
        sa.event.remove(sa.Engine, name, listener)


@pytest.fixture(scope="module")
def imported(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk's database with batch 1, to be copied."""
    desk = Desk(Path(shutil.copytree(begun, tmp_path_factory.mktemp("imported") / "desk")))
    assert desk.onboard("import", desk.list_of(customers(2))).code == 0
    return desk.path / DATABASE


@pytest.fixture
def stage(desk: Desk, imported: Path) -> Callable[[str], Desk]:
    def make(statement: str = "") -> Desk:
        shutil.copyfile(imported, desk.path / DATABASE)
        desk.list_of(customers(2))
        desk.list_of([{"customer_id": "D-1", "email": "d@example.com", "channel": "none"}], LIST)
        if statement:
            with sqlite3.connect(desk.path / DATABASE) as connection:
                connection.executescript(statement)
            connection.close()
        return desk

    return make


def entries(desk: Desk) -> list[tuple[str, str]]:
    return desk.sql("SELECT actor, action FROM audit ORDER BY id")


def _path(typed: str) -> str:
    known = [path for path in paths_of(main_group) if typed == path or typed.startswith(f"{path} ")]
    return max(known, key=len)


def test_each_command_is_declared_as_one_that_changes_or_one_that_reads():
    declared = {_path(typed) for typed in [*CHANGES, *BEFORE, *READS]} | PROCESSES | WITHOUT_DATABASE | ELSEWHERE

    assert declared == paths_of(main_group)


@pytest.mark.parametrize("typed", CHANGES)
def test_a_command_that_changes_something_has_an_entry_in_the_same_transaction(stage, transactions, typed):
    table, statement = CHANGES[typed]
    desk = stage(statement)
    before = len(entries(desk))
    transactions.committed.clear()

    ended = desk.onboard(*typed.split())

    assert ended.code in (0, 1), ended.err
    assert any(("INSERT", "audit") in writes for writes in transactions.of(table)), transactions.committed
    added = entries(desk)[before:]
    assert added == [(os_user().full, _path(typed))] * len(added)


def test_a_command_that_shows_what_is_protected_has_an_entry(stage, subtests):
    desk = stage()
    for typed in sorted(BEFORE):
        with subtests.test(typed=typed):
            before = len(entries(desk))

            assert desk.onboard(*typed.split()).code == 0

            assert entries(desk)[before] == (os_user().full, _path(typed))


def test_a_command_that_only_reads_changes_nothing_and_has_no_entry(stage, transactions, subtests):
    desk = stage()
    for typed in sorted(READS):
        with subtests.test(typed=typed):
            transactions.committed.clear()

            assert desk.onboard(*typed.split()).code in (0, 1)

            assert transactions.tables <= HOUSEKEEPING


def put_retired_keys_first(desk: Desk) -> set[str]:
    """Keys that were retired, before those that are used; returns the ids."""
    one, other = new_key(), new_key()
    desk.write("retired.key", one)
    desk.write("retired-digest.key", other)
    ring = Keyring([one], [other])
    for key, name, id_ in (("keys", "", ring.ids[0]), ("digest_key", "-digest", ring.digest_ids[0])):
        desk.sql("INSERT INTO retired_key VALUES (?, '2026-01-01 00:00:00')", id_)
        was = desk.config.read_text("utf-8").split(f"\n{key} = ")[1].split("\n")[0]
        both = f'[{{ file = "retired{name}.key" }}, {{ file = "onboarding{name}.key" }}]'
        desk.change(f"\n{key} = {was}\n", f"\n{key} = {both}\n")
    return {*ring.ids, *ring.digest_ids}


def needed_keys(desk: Desk) -> set[str]:
    database = Database(f"sqlite:///{desk.path / DATABASE}")
    with database.read() as connection:
        found = {*uses_of_keys(connection), *uses_of_digest_keys(connection)}
    database.close()
    return found


@pytest.mark.parametrize("typed", [*CHANGES, *sorted(BEFORE), *sorted(READS)])
def test_no_command_encrypts_hashes_or_signs_with_a_retired_key(stage, typed):
    desk = stage(CHANGES[typed][1] if typed in CHANGES else "")
    retired = put_retired_keys_first(desk)

    ended = desk.onboard(*typed.split())

    assert needed_keys(desk).isdisjoint(retired)
    assert ended.code in ((0, 1) if typed in READS else (0, 1, 2))
    assert ended.code != 2 or "was retired on 2026-01-01; put another key before it" in ended.err


def test_the_environment_does_not_say_who_acted(stage, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "somebody.else")
    desk = stage()

    desk.onboard("pause", "1")

    (actor, action) = entries(desk)[-1]
    assert (action, "somebody.else" in actor) == ("pause", False)
