"""The chain of the audit log: entries of many transactions, sealed later; each kind of tampering is found."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import Act, note
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.tables import Audit, AuditHead
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.features.audit.store.reading import AuditLog, Wanted
from onboarding_worker.features.audit.store.sealing import NotSigned, Point, Seals, next_point

pytestmark = pytest.mark.both_databases

ONA = Act("ona (1000) at desk", "cancel")


@pytest.fixture
def seals(database, keyring):
    return Seals(database, keyring)


@pytest.fixture
def log(database, keyring):
    return AuditLog(database, keyring)


@pytest.fixture
def add(database, clock):
    def add(*subjects):
        for subject in subjects:
            with database.write() as connection:
                note(connection, subject, now=clock(), act=ONA)

    return add


@pytest.fixture
def five(add, seals):
    """Five sealed entries. The fixture is the chain's end."""
    add("batch 1", "batch 2", "batch 3", "batch 4", "batch 5")
    return seals.seal()


@pytest.fixture
def tamper(database):
    """Runs a statement as somebody with all rights in the database does, who switches the triggers off."""

    def run(statement):
        with database.engine.connect() as connection:
            if database.is_sqlite:
                for name in ("audit_update", "audit_delete", "audit_replace"):
                    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
            else:
                connection.exec_driver_sql("SET session_replication_role = replica")
            connection.execute(statement)
            connection.commit()
            connection.invalidate()  # the setting ends with it

    return run


def problems(log, kept=None):
    return log.verify(kept).problems


def test_entries_are_sealed_in_the_order_of_their_commits(add, seals, log):
    add("batch 1", "batch 2")

    end = seals.seal()
    found = log.verify()

    assert found.end == end
    assert found.end.number == 2
    assert (found.entries, found.unsealed, found.problems) == (2, 0, [])
    assert [stored.subject for stored in log.in_order(Wanted(), to=99)] == ["batch 1", "batch 2"]


def test_more_entries_continue_the_chain(add, seals, log, five):
    add("batch 6")

    assert seals.seal() != five
    assert problems(log, five) == []


def test_entries_that_are_not_sealed_yet_are_counted_and_no_problem(add, log, five):
    add("batch 6")

    found = log.verify()

    assert (found.entries, found.unsealed, found.problems) == (5, 1, [])


def test_an_empty_log_is_whole(log):
    assert log.verify().is_whole


def test_two_processes_that_add_and_seal_at_once_make_one_chain(database, keyring, add, log, in_parallel):
    def process():
        own = Database(database.engine.url.render_as_string(hide_password=False))
        for _ in range(20):
            add("batch 1")
            Seals(own, keyring).seal()
        own.close()

    in_parallel(process, times=2)
    Seals(database, keyring).seal()

    found = log.verify()
    assert (found.entries, found.unsealed, found.problems) == (40, 0, [])


@pytest.mark.postgresql_alone  # on SQLite one transaction writes at a time
def test_an_entry_whose_transaction_ends_late_is_sealed_late_and_not_lost(database, clock, seals, add, log):
    with database.write() as slow:
        note(slow, "batch 1", now=clock(), act=ONA)
        add("batch 2")
        seals.seal()
    seals.seal()

    assert [stored.subject for stored in log.in_order(Wanted(), to=99)] == ["batch 2", "batch 1"]
    assert problems(log) == []


@pytest.mark.parametrize(
    "change", [sa.update(Audit).values(actor="rasa"), sa.update(Audit).values(number=None), sa.delete(Audit)]
)
def test_the_database_refuses_to_change_or_delete_an_entry(database, five, log, change):
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), database.write() as connection:
        connection.execute(change.where(Audit.number == 3))

    assert problems(log) == []


def test_the_database_refuses_to_change_an_entry_that_is_not_sealed_yet(database, add):
    add("batch 1")

    for change in (sa.update(Audit).values(subject="batch 2"), sa.delete(Audit)):
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), database.write() as connection:
            connection.execute(change)


def test_the_database_refuses_to_replace_or_to_empty(database, five):
    statement = "INSERT OR REPLACE INTO audit SELECT * FROM audit" if database.is_sqlite else "TRUNCATE audit"
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), database.write() as connection:
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize("column", ["actor", "action", "subject", "reason", "count", "at"])
def test_a_changed_entry_is_found(tamper, log, five, clock, column):
    values = {"count": 17, "at": clock() + timedelta(microseconds=1)}

    tamper(sa.update(Audit).where(Audit.number == 3).values({column: values.get(column, "rasa")}))

    assert problems(log) == ["entry 3 was changed: its hash does not fit it and the entry before"]


def test_a_removed_entry_is_found(tamper, log, five):
    tamper(sa.delete(Audit).where(Audit.number.in_([2, 3])))

    assert problems(log) == ["entries 2 to 3: removed"]


def test_a_tail_that_was_cut_off_is_found(tamper, log, five):
    tamper(sa.delete(Audit).where(Audit.number >= 4))

    assert problems(log) == ["entries 4 to 5: removed, at the end of the chain"]


def test_a_tail_that_was_cut_off_with_a_new_head_is_found_by_the_signature(tamper, log, five):
    (fourth,) = [Point(one.number, one.hash) for one in log.in_order(Wanted(after=3), to=99) if one.number == 4]

    tamper(sa.delete(Audit).where(Audit.number == 5))
    tamper(sa.update(AuditHead).values(number=fourth.number, hash=fourth.hash))

    (problem,) = problems(log)
    assert "the head of the chain is not signed by a key of this configuration" in problem


def test_an_old_head_that_was_put_back_is_found_by_the_head_that_was_kept_elsewhere(
    database, tamper, add, seals, log, five
):
    with database.read() as connection:
        old = connection.execute(sa.select(AuditHead.__table__)).one()._asdict()
    add("batch 6")
    kept = seals.seal()

    tamper(sa.delete(Audit).where(Audit.number == 6))
    tamper(sa.update(AuditHead).values(old))

    assert problems(log) == []  # what the database holds is a whole chain, of an earlier time
    assert problems(log, kept) == ["the chain ends at 5, before the head that you gave: its end was cut off"]


def test_a_chain_that_was_made_anew_is_found_by_the_head_that_was_kept_elsewhere(tamper, database, log, five, keyring):
    tamper(sa.update(Audit).values(number=None, hash=None, actor="rasa"))
    tamper(sa.update(AuditHead).values(number=0, hash=Point().hash, digest=None))
    Seals(database, keyring).seal()  # as the owner of the key can

    assert problems(log) == []
    assert problems(log, five) == ["entry 5 is not the one of the head that you gave: the chain was made anew"]


def test_an_entry_that_was_put_behind_the_head_is_found(database, tamper, log, five, clock):
    row = {"at": clock(), "actor": "x", "action": "x", "subject": "x", "count": 1, "reason": ""}
    tamper(sa.insert(Audit).values(row | {"number": 6, "hash": "0" * 64}))

    assert "entry 6: behind the chain's head, not sealed by a worker" in problems(log)


def test_a_removed_head_is_found_and_nothing_is_sealed_any_more(tamper, add, seals, log, five):
    tamper(sa.delete(AuditHead))
    add("batch 6")

    with pytest.raises(NotSigned):
        seals.seal()
    assert problems(log)[0].startswith("the head of the chain is missing")


def test_a_worker_does_not_sign_a_head_that_somebody_has_changed(tamper, add, seals, log, five):
    tamper(sa.update(AuditHead).values(hash="0" * 64))
    add("batch 6")

    with pytest.raises(NotSigned):
        seals.seal()
    assert log.verify().unsealed == 1


def test_a_worker_does_not_sign_a_head_that_was_reset_while_entries_are_there(tamper, add, seals, five):
    tamper(sa.update(AuditHead).values(number=0, hash=Point().hash, digest=None))
    add("batch 6")

    with pytest.raises(NotSigned):
        seals.seal()


def test_after_a_rotation_the_head_is_signed_by_the_new_key(database, clock, add, five):
    old, new = new_key(), new_key()
    database_log = AuditLog(database, Keyring([new]))
    Seals(database, Keyring([old])).accept(now=clock())

    assert not database_log.verify().is_whole
    Seals(database, Keyring([new, old])).seal()

    assert database_log.verify().is_whole


def test_a_person_may_accept_the_head_whose_key_is_lost(database, clock, five):
    keyring = Keyring([new_key()])

    Seals(database, keyring).accept(now=clock())
    Seals(database, keyring).seal()

    found = AuditLog(database, keyring).verify(five)
    assert (found.entries, found.problems) == (6, [])


def test_old_entries_can_be_removed_and_the_rest_stays_verifiable(clock, add, seals, log, five):
    clock.advance(days=400)
    add("batch 6")
    seals.seal()

    removed = seals.remove(until=clock() - timedelta(days=365), now=clock())
    seals.seal()

    found = log.verify(five)
    assert (removed, found.removed, found.entries, found.problems) == (5, 5, 2, [])
    assert [stored.action for stored in log.in_order(Wanted(), to=99)] == ["cancel", "audit.removed"]


def old(clock, number):
    return sa.update(Audit).where(Audit.number <= number).values(at=clock() - timedelta(days=1000))


@pytest.mark.parametrize("number", [1, 3])
def test_an_entry_that_was_given_an_old_time_is_not_removed_by_retention(clock, seals, log, five, tamper, number):
    tamper(old(clock, number))

    assert seals.remove(until=clock() - timedelta(days=365), now=clock()) == 0
    assert problems(log)[0] == "entry 1 was changed: its hash does not fit it and the entry before"


def test_an_old_entry_before_a_changed_one_goes_and_a_removed_one_is_still_found(clock, add, seals, log, five, tamper):
    clock.advance(days=400)
    add("batch 6")
    seals.seal()
    tamper(sa.delete(Audit).where(Audit.number == 4))

    assert seals.remove(until=clock() - timedelta(days=365), now=clock()) == 2
    assert seals.remove(until=clock() - timedelta(days=365), now=clock()) == 0
    seals.seal()
    assert problems(log) == ["entry 4: removed"]


def test_a_chain_that_was_made_anew_up_to_an_entry_is_still_found_after_retention(clock, seals, log, five, tamper):
    tamper(old(clock, 2))
    at = Point()
    for stored in list(log.in_order(Wanted(), to=2)):
        at = next_point(at, stored)
        tamper(sa.update(Audit).where(Audit.number == at.number).values(hash=at.hash))

    assert seals.remove(until=clock() - timedelta(days=365), now=clock()) == 1
    assert problems(log) == ["entry 3 was changed: its hash does not fit it and the entry before"]


def test_an_entry_in_front_of_the_chain_is_found(database, tamper, log, five, clock):
    entry = {"at": clock(), "actor": "x", "action": "cancel", "subject": "batch 9", "count": 1, "reason": ""}
    tamper(sa.insert(Audit).values(**entry, number=-5, hash="0" * 64))
    assert problems(log) == ["entry -5 is there, but retention has removed all up to 0"]


def test_an_older_head_than_what_was_removed_cannot_be_compared(clock, add, seals, log):
    add("batch 1")
    first = seals.seal()
    add("batch 2", "batch 3")
    seals.seal()
    clock.advance(days=1)
    seals.remove(until=clock(), now=clock())

    assert problems(log, first) == ["entry 1 is gone, so the head that you gave cannot be compared"]


def test_the_newest_entry_stays_however_old_it_is(clock, seals, five):
    clock.advance(days=4000)

    assert seals.remove(until=clock(), now=clock()) == 4


def test_what_cannot_be_shown_is_in_no_entry(database, clock, log):
    with database.write() as connection:
        note(connection, "a\nb\x1b[2J", now=clock(), act=Act("x" * 300, "y"))

    (only,) = log.newest(Wanted(), most=10)
    assert (only.subject, len(only.actor)) == ("a?b?[2J", 200)


def test_the_end_alone_is_checked_from_the_entry_before_it(log, five, tamper):
    assert (log.verify_end(2).entries, log.verify_end(2).problems) == (2, [])
    tamper(sa.update(Audit).where(Audit.number == 4).values(reason="another"))
    assert log.verify_end(2).problems == ["entry 4 was changed: its hash does not fit it and the entry before"]
    assert log.verify_end(1).problems == []  # `verify` reads them all
    assert log.verify_end(100).problems == problems(log)


def test_the_end_alone_shows_a_head_that_was_changed_or_removed(log, five, tamper):
    tamper(sa.update(AuditHead).values(digest="0" * 64))
    assert any("not signed by a key" in one for one in log.verify_end(2).problems)
    tamper(sa.delete(AuditHead))
    assert log.verify_end(2).problems[0].startswith("the head of the chain is missing")


def test_an_older_head_that_we_have_signed_and_that_comes_back_is_refused_by_who_has_seen_the_later(
    database, keyring, add, seals, log, five, tamper
):
    with database.read() as connection:
        (older,) = connection.execute(sa.select(AuditHead.__table__)).mappings().all()
    add("batch 6")
    assert seals.seal().number == 6

    tamper(sa.delete(Audit).where(Audit.number == 6))
    tamper(sa.update(AuditHead).values(**older))
    add("batch 7")

    assert problems(log) == []  # the log alone does not show it
    for _ in range(2):
        with pytest.raises(NotSigned, match="older"):
            seals.seal()
    assert Seals(database, keyring).seal().number == 6  # a process that starts knows nothing of it
    add("batch 8")
    with pytest.raises(NotSigned, match="older"):  # another entry has the number
        seals.seal()


def test_an_older_head_is_refused_too_where_another_process_has_sealed_the_entries_that_are_gone(
    database, keyring, add, seals, five, tamper
):
    with database.read() as connection:
        (older,) = connection.execute(sa.select(AuditHead.__table__)).mappings().all()
    command = Seals(database, keyring)
    add("batch 6")
    assert command.seal().number == 6
    assert seals.seal() is None  # a worker has nothing to seal

    tamper(sa.delete(Audit).where(Audit.number == 6))
    tamper(sa.update(AuditHead).values(**older))
    with pytest.raises(NotSigned, match="older") as refused:
        seals.seal()
    assert refused.value.seen.number == 6


def test_a_head_that_is_not_signed_is_refused_where_nothing_is_to_be_sealed_and_not_remembered(
    tamper, add, seals, five
):
    tamper(sa.update(AuditHead).values(number=99))
    with pytest.raises(NotSigned):
        seals.seal()
    tamper(sa.update(AuditHead).values(number=five.number))
    add("batch 6")
    assert seals.seal().number == 6
