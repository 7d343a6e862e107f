"""An entry of the audit log says who did what, in the transaction of what it tells."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import Act, Entry, note, note_all, note_alone
from onboarding_worker.core.database.tables import Audit

pytestmark = pytest.mark.both_databases

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
WHAT = (Audit.actor, Audit.action, Audit.subject, Audit.count, Audit.reason)


def entries(database):
    return [tuple(row) for row in database.rows(sa.select(*WHAT).order_by(Audit.id))]


@pytest.fixture
def asked(database):
    return database.acting(Act("rita", "cancel", "a wrong list"))


def test_an_entry_says_who_acts_on_the_connection_and_why(asked):
    with asked.write() as connection:
        note(connection, "batch 1", now=NOW)
        note(connection, "batch 2", now=NOW, count=3, reason="3 rows")
        note(connection, "batch 3", now=NOW, reason="by age", act=Act("retention", "purge"))
    note_alone(asked, "batch 4", now=NOW, count=0, reason="shown")
    assert entries(asked) == [
        ("rita", "cancel", "batch 1", 1, "a wrong list"),
        ("rita", "cancel", "batch 2", 3, "3 rows; a wrong list"),
        ("retention", "purge", "batch 3", 1, "by age"),
        ("rita", "cancel", "batch 4", 0, "shown; a wrong list"),
    ]
    assert set(asked.rows(sa.select(Audit.at))) == {(NOW,)}


def test_who_acts_on_the_same_connections_by_another_name_is_not_mixed_up(database, asked):
    for one in (asked, database):
        note_alone(one, "batch 1", now=NOW, reason="")
    assert [(actor, count) for actor, _, _, count, _ in entries(database)] == [("rita", 1), ("unknown", 1)]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_any_number_of_entries_is_added_and_rolled_back_with_its_transaction(database, number):
    made = [Entry(NOW, "ona", "look", f"batch {each}", each, "why") for each in range(number)]

    def fail():
        with database.write() as connection:
            note_all(connection, made)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert entries(database) == []
    with database.write() as connection:
        note_all(connection, made)
    assert entries(database) == [("ona", "look", f"batch {each}", each, "why") for each in range(number)]


def test_what_no_column_can_hold_is_cut_off_and_stays_on_one_line(database):
    with database.write() as connection:
        note_all(connection, [Entry(NOW, "a\n" + "b" * 300, "c" * 300, "d" * 300, reason="e" * 300)])
    ((actor, action, subject, count, reason),) = entries(database)
    assert actor == "a?" + "b" * 198
    assert [*map(len, (action, subject, reason)), count] == [64, 200, 200, 1]
