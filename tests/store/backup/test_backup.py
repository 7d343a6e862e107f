"""A backup becomes the same database again, without the customers who were erased since, and stopped."""

import json
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.conftest import database as database  # without a witness, whose triggers would be in the copy
from tests.store.shelf import Shelf, customer
from worker.domain.contact.suppression import SuppressionReason
from worker.domain.events.incoming import OPERATOR, EventKind
from worker.domain.events.refused import RefusedMessage
from worker.domain.model.audit import Act
from worker.foundation.keyring import Keyring, new_key
from worker.store.backup import manifest as manifests
from worker.store.backup.customer_key_file import DamagedKeys, read_header
from worker.store.backup.data_copy import KEYS, LIVING, SQLITE_FILE, copy_data
from worker.store.backup.manifest import Manifest, NoBackup, Table
from worker.store.backup.restoring import erase_again, has_rows, load, put_sqlite_in_place
from worker.store.base.database import ACT, Database
from worker.store.inbox.inbox import Inboxes
from worker.store.inbox.incoming_events import Arrival
from worker.store.inbox.refused_events import RefusedEvents
from worker.store.inbox.subject_requests import SubjectRequests
from worker.store.messages.suppressions import release, suppress
from worker.store.tables import Base, CustomerKey, CustomerRow, Job, Standstill, Suppression, Tombstone

RING = Keyring([new_key()], [new_key()], customer_keys=True)


@pytest.fixture
def acting(database, clock):
    database.engine.update_execution_options(**{ACT: Act("ops", "backup")})
    return Shelf(database, RING, clock)


@pytest.fixture
def full(acting):
    """Ona has her link, and Jonas waits."""
    acting.add(customer("Ona", tags=("vip",)))
    acting.issue()
    acting.send()
    acting.add(customer("Jonas"))
    return acting


def back_up(shelf, folder):
    folder.mkdir()
    with (folder.with_suffix(".keys")).open("w", encoding="utf-8") as keys:
        made = copy_data(shelf.database, folder, keys, encrypted_by=RING.ids, now=shelf.clock())
    made.write(folder)
    return made


@contextmanager
def restored(shelf, request, folder, keys_of, tmp_path, ring=RING):
    """The database made of the backup in `folder` and the keys of another one."""
    if shelf.database.is_sqlite:
        put_sqlite_in_place(folder, tmp_path / "again.db")
        database = Database(f"sqlite:///{tmp_path / 'again.db'}", act=Act("ops", "backup restore"))
    else:
        request.getfixturevalue("empty_postgresql")()
        database = Database(request.getfixturevalue("postgresql_url"), act=Act("ops", "backup restore"))
        assert not has_rows(database)
    try:
        with keys_of.with_suffix(".keys").open(encoding="utf-8") as keys:
            read_header(keys)
            _, _, done = load(database, folder, manifests.read(folder), keys, now=shelf.clock())
        erase_again(database, ring, done, now=shelf.clock())
        yield Shelf(database, ring, shelf.clock)
    finally:
        database.close()


def rows_of(shelf):
    left_out = {"audit", "audit_head", "standstill", *LIVING}
    with shelf.database.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table))))
            for table in Base.metadata.sorted_tables
            if table.name not in left_out
        }


def test_a_restored_database_has_the_same_rows_and_is_stopped(full, request, tmp_path):
    before, links = rows_of(full), [line.opening.link for line in full.facts.lines(batch_of(full), with_links=True)]
    back_up(full, tmp_path / "monday")
    with restored(full, request, tmp_path / "monday", tmp_path / "monday", tmp_path) as again:
        assert {name: rows for name, rows in rows_of(again).items() if name != "budget"} == {
            name: rows for name, rows in before.items() if name != "budget"
        }
        assert [line.opening.link for line in again.facts.lines(batch_of(again), with_links=True)] == links
        (stop,) = again.rows(Standstill)
        assert "restored from the backup" in stop.reason
        assert again.claim() == []  # Jonas waits, as everything
        with again.database.write() as connection:
            connection.execute(sa.delete(Standstill))
        assert [job.request.customer.customer_id for job in again.claim()] == ["Jonas"]
        # New rows get new numbers.
        numbers = {row.id for row in again.rows(Job)}
        again.add(customer("Rasa"))
        assert len(numbers | {row.id for row in again.rows(Job)}) == 3


def batch_of(shelf):
    return shelf.job("Ona").batch_id


def test_who_was_erased_since_stays_erased_and_opens_with_no_key_that_is_left(full, request, tmp_path):
    back_up(full, tmp_path / "monday")
    requests = SubjectRequests(full.database, RING)
    requests.erase("Ona", reason="", forget_suppressed=False, now=full.clock())
    back_up(full, tmp_path / "tuesday")
    with restored(full, request, tmp_path / "monday", tmp_path / "tuesday", tmp_path) as again:
        assert again.row(CustomerRow, customer_id="Ona").encrypted is None
        assert [row.customer_id for row in again.rows(CustomerKey)] == ["Jonas"]
        assert len(again.rows(Tombstone)) == 1
        assert again.row(CustomerRow, customer_id="Jonas").encrypted is not None


@pytest.mark.parametrize("customer_keys", [False, True])
def test_who_was_known_only_from_events_and_erased_since_stays_erased(acting, request, tmp_path, customer_keys):
    key, older, newer_key = new_key(), new_key(), new_key()
    ring = Keyring([key], [older], customer_keys=customer_keys)
    clock, database = acting.clock, acting.database
    for customer_id in ("Ona", "Jonas"):
        known_by_events(database, ring, clock, customer_id)
    back_up(acting, tmp_path / "monday")
    # The tombstone is made by a newer key.
    newer = Keyring([key], [newer_key, older], customer_keys=customer_keys)
    SubjectRequests(database, newer).erase("Ona", reason="", forget_suppressed=False, now=clock())
    back_up(acting, tmp_path / "tuesday")
    with restored(acting, request, tmp_path / "monday", tmp_path / "tuesday", tmp_path, ring=newer) as again:
        requests = SubjectRequests(again.database, newer)
        shown = {name: requests.export(name, now=clock()) for name in ("Ona", "Jonas")}
        assert "ona@example.org" not in str(shown["Ona"])
        assert shown["Ona"]["erased"]
        assert shown["Ona"]["refused_events"] == []
        assert str(shown["Jonas"]).count("jonas@example.org") == 2  # the update, and the refused event


def known_by_events(database, ring, clock, customer_id):
    """An update of a customer who is not known yet is stored, and a message about the same customer was refused."""
    columns = {"email": f"{customer_id.lower()}@example.org"}
    before = clock() - timedelta(hours=1)
    digests = ring.digests("event", customer_id)
    event = (OPERATOR, "crm", customer_id, EventKind.UPDATED, customer_id, "", before, digests)
    Inboxes(database, ring).take([Arrival(*event, columns=columns)], now=clock())
    message = RefusedMessage("requests", customer_id, "no purpose", "", "", 1, customer_id, {"body": columns["email"]})
    RefusedEvents(database, ring, kept=timedelta(days=14)).keep([message], now=clock())


def test_what_came_after_an_erasure_by_an_event_is_restored(acting, request, tmp_path):
    clock, database = acting.clock, acting.database
    erased = Arrival(OPERATOR, "crm", "0", EventKind.ERASED, "Ona", "", clock() - timedelta(hours=2), ("0",))
    Inboxes(database, RING).take([erased], now=clock())
    known_by_events(database, RING, clock, "Ona")
    back_up(acting, tmp_path / "monday")
    with restored(acting, request, tmp_path / "monday", tmp_path / "monday", tmp_path) as again:
        events = SubjectRequests(again.database, RING).export("Ona", now=clock())["events"]
        assert [event["columns"] for event in events if "columns" in event] == [{"email": "ona@example.org"}]


def test_what_was_refused_after_an_erasure_by_an_event_is_restored(acting, request, tmp_path):
    clock, database = acting.clock, acting.database
    acting.add(customer("Ona"))
    erased = Arrival(OPERATOR, "crm", "0", EventKind.ERASED, "Ona", "", clock() - timedelta(hours=2), ("0",))
    Inboxes(database, RING).take([erased], now=clock())
    known_by_events(database, RING, clock, "Ona")
    before = SubjectRequests(database, RING).export("Ona", now=clock())
    assert before["erased"]
    back_up(acting, tmp_path / "monday")
    with restored(acting, request, tmp_path / "monday", tmp_path / "monday", tmp_path) as again:
        after = SubjectRequests(again.database, RING).export("Ona", now=clock())
        assert after["refused_events"] == before["refused_events"] != []
        assert after["events"] == before["events"]


def test_an_event_that_was_refused_after_an_erasure_goes_with_the_next_erasure_by_an_event(acting, request, tmp_path):
    clock, database = acting.clock, acting.database

    def erase(name, ago):
        event = Arrival(OPERATOR, "crm", name, EventKind.ERASED, "Ona", "", clock() - ago, (name,))
        Inboxes(database, RING).take([event], now=clock())

    acting.add(customer("Ona"))
    erase("0", timedelta(hours=2))
    known_by_events(database, RING, clock, "Ona")
    back_up(acting, tmp_path / "monday")
    erase("1", timedelta(minutes=1))
    back_up(acting, tmp_path / "tuesday")
    with restored(acting, request, tmp_path / "monday", tmp_path / "tuesday", tmp_path) as again:
        shown = SubjectRequests(again.database, RING).export("Ona", now=clock())
        assert shown["refused_events"] == []
        assert "ona@example.org" not in str(shown)


def test_an_erasure_by_a_person_since_the_backup_outranks_one_by_an_event_in_it(acting, request, tmp_path):
    clock, database, ring = acting.clock, acting.database, Keyring([new_key()], [new_key()])
    erased = Arrival(OPERATOR, "crm", "0", EventKind.ERASED, "Ona", "", clock() - timedelta(hours=2), ("0",))
    acting.add(customer("Ona"))
    Inboxes(database, ring).take([erased], now=clock())
    known_by_events(database, ring, clock, "Ona")
    back_up(acting, tmp_path / "monday")
    SubjectRequests(database, ring).erase("Ona", reason="", forget_suppressed=False, now=clock())
    back_up(acting, tmp_path / "tuesday")
    with restored(acting, request, tmp_path / "monday", tmp_path / "tuesday", tmp_path, ring=ring) as again:
        assert [row.final for row in again.rows(Tombstone)] == [True]
        assert "ona@example.org" not in str(SubjectRequests(again.database, ring).export("Ona", now=clock()))


def test_a_request_from_after_an_erasure_by_an_event_counts_after_a_restore(full, request, tmp_path):
    at = full.clock()
    back_up(full, tmp_path / "monday")
    full.clock.advance(hours=1)
    Inboxes(full.database, RING).take([Arrival(OPERATOR, "crm", "0", EventKind.ERASED, "Ona", "", at, ("0",))], now=at)
    full.clock.advance(hours=1)
    back_up(full, tmp_path / "tuesday")
    full.clock.advance(hours=1)
    with restored(full, request, tmp_path / "monday", tmp_path / "tuesday", tmp_path) as again:
        assert again.row(CustomerRow, customer_id="Ona").encrypted is None
        assert [row.erased_at for row in again.rows(Tombstone)] == [at]


def test_who_wants_no_messages_is_as_in_the_newer_file(acting, request, tmp_path):
    def stops(name):
        with acting.database.write() as connection:
            manual = SuppressionReason.MANUAL
            suppress(connection, RING, "email", f"{name}@example.org", manual, "ops", now=acting.clock())

    stops("ona")
    stops("jonas")
    back_up(acting, tmp_path / "monday")
    with acting.database.write() as connection:
        release(connection, RING, "email", "ona@example.org")
    stops("rasa")
    back_up(acting, tmp_path / "tuesday")
    kept = {row.digest for row in acting.rows(Suppression)}
    with restored(acting, request, tmp_path / "monday", tmp_path / "tuesday", tmp_path) as again:
        assert {row.digest for row in again.rows(Suppression)} == kept
        assert len(kept) == 2


def test_the_data_has_no_key_of_a_customer(full, tmp_path):
    made = back_up(full, tmp_path / "monday")
    wrapped = [row.wrapped for row in full.rows(CustomerKey)]
    assert (made.customer_keys, len(wrapped)) == (2, 2)
    for file in (tmp_path / "monday").iterdir():
        content = file.read_bytes()
        assert not [key for key in wrapped if key in content or key.hex().encode() in content], file.name
        assert file.stat().st_mode & 0o777 == 0o600
    assert f"{KEYS}.copy" not in made.files
    assert made.database != "sqlite" or set(made.files) == {SQLITE_FILE}


def test_the_manifest_says_what_was_copied_and_a_changed_file_is_found(full, tmp_path):
    folder = tmp_path / "monday"
    made = back_up(full, folder)
    assert manifests.read(folder) == made
    assert (made.tables["job"].rows, made.tables["customer"].rows) == (2, 2)
    text = json.dumps(json.loads((folder / "manifest.json").read_text("utf-8")))
    assert not [word for word in ("Ona", "Jonas", "example.org") if word in text]
    (name, *_) = made.files
    with (folder / name).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(NoBackup, match="was changed"):
        manifests.read(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(NoBackup, match="cut off"):
        manifests.read(folder)


@pytest.mark.parametrize("damage", [lambda _: [], lambda made: made | {"files": []}, lambda made: made | {"tables": 7}])
def test_a_damaged_manifest_is_refused(tmp_path, damage):
    file = tmp_path / "manifest.json"
    whole = Manifest("sqlite", "0002", "2026-11-20T12:00:00Z", {"job": Table(0)}, {}, ("1a2b3c4d",), customer_keys=0)
    whole.write(tmp_path)
    assert manifests.read(tmp_path) == whole
    for text in (json.dumps(damage(json.loads(file.read_text()))), "[" * 90_000, "{"):
        file.write_text(text)
        with pytest.raises(NoBackup, match="is damaged"):
            manifests.read(tmp_path)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda text: text[: text.rindex("\n", 0, -1) + 1], "its end is missing"),
        (lambda text: text.replace('"Ona"', '"Eve"'), "changed or is missing"),
        (lambda _: "customer_id,email\n", "no file of customers' keys"),
        (lambda _: "[" * 90_000, "no file of customers' keys"),
        (lambda _: "", "its end is missing"),
    ],
)
def test_a_damaged_file_of_keys_is_refused(full, tmp_path, damage, why):
    back_up(full, tmp_path / "monday")
    file = tmp_path / "monday.keys"
    file.write_text(damage(file.read_text("utf-8")), "utf-8")
    with file.open(encoding="utf-8") as stream, pytest.raises(DamagedKeys, match=why):
        read_header(stream)


def test_a_database_in_use_is_not_restored_into(full):
    assert has_rows(full.database)
