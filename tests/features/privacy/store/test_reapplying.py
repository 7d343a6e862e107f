"""What a journal has noted is carried out again in an older copy of the database."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.journal import Journal, read
from onboarding_worker.core.database.tables import Audit, CustomerRow, Inbox, Suppression
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.incoming import OPERATOR, EventKind
from onboarding_worker.core.rows.suppressions import release, suppress, suppressed
from onboarding_worker.events.standing import Arrival
from onboarding_worker.events.store.inbox import Inboxes
from onboarding_worker.features.privacy.store.reapplying import reapply
from onboarding_worker.features.privacy.store.subject_requests import SubjectRequests
from onboarding_worker.lists.known_customers import KnownChoices
from tests.stored.shelf import Shelf, add_lines, customer, line

KEY, DIGEST, NEXT = new_key(), new_key(), new_key()
RING = Keyring([KEY], [DIGEST])
STOP, MANUAL = SuppressionReason.STOP, SuppressionReason.MANUAL
ONA, JONAS = ("email", "ona@example.org"), ("sms", "+37060000002")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "onboarding.journal"


@pytest.fixture
def living(path, clock, tmp_path, sqlite_template):
    """Another database than the shelf's: what happened in it after the shelf's copy was made is noted."""
    file = tmp_path / "living.db"
    file.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{file}", journal=Journal(path, clock))
    yield Shelf(database, RING, clock)
    database.close()


@pytest.fixture
def copy(database, clock):
    """The older copy, with both customers."""
    shelf = Shelf(database, RING, clock)
    shelf.add(customer("Ona"), customer("Jonas"))
    return shelf


def erase(shelf, name="Ona"):
    requests = SubjectRequests(shelf.database, shelf.keyring)
    requests.erase(name, reason="", forget_suppressed=False, now=shelf.clock())


def stop(shelf, address=ONA, reason=STOP):
    with shelf.database.write() as connection:
        suppress(connection, shelf.keyring, *address, reason, "x", now=shelf.clock())


def again(shelf, path, keyring=RING):
    return reapply(shelf.database, keyring, read(path)[0], now=shelf.clock())


def names(shelf):
    """Of whom something personal is stored."""
    return {row.customer_id for row in shelf.rows(CustomerRow) if row.encrypted is not None}


def silent(shelf, keyring=RING):
    with shelf.database.write() as connection:
        return suppressed(connection, keyring, [ONA, JONAS])


def update(shelf, name):
    digests = shelf.keyring.digests("event", name)
    at, id_ = shelf.clock(), str(new_id(shelf.clock()))
    arrival = Arrival(OPERATOR, "/crm", id_, EventKind.UPDATED, name, "", at, digests, columns={"locale": "lt"})
    Inboxes(shelf.database, shelf.keyring).take([arrival], now=at)


def test_who_was_erased_is_erased_again_and_who_wants_no_messages_gets_none(copy, living, path):
    erase(living)
    stop(living, JONAS)
    copy.clock.advance(hours=1)

    done = again(copy, path)

    assert (done.erased, done.suppressed, done.unknown) == (1, 1, {})
    assert names(copy) == {"Jonas"}
    assert silent(copy) == {JONAS: STOP}
    copy.add(customer("Ona"))  # no list brings her back
    assert names(copy) == {"Jonas"}


def test_a_second_time_changes_nothing(copy, living, path):
    erase(living)
    stop(living)
    again(copy, path)
    before = [row.id for row in copy.rows(Audit)]
    done = again(copy, path)
    assert (done.erased, done.suppressed) == (0, 0)
    assert [row.id for row in copy.rows(Audit)] == before


@pytest.mark.both_databases
def test_each_erasure_and_the_addresses_have_entries_in_the_audit_log(copy, living, path):
    erase(living)
    stop(living)
    again(copy, path)
    subjects = [(row.subject, row.count) for row in copy.rows(Audit) if "from the journal" in row.reason]
    assert sorted(subjects) == [("customer Ona", 1), ("do-not-contact list", 1)]


def test_an_address_may_be_written_to_whose_suppression_was_lifted(copy, living, path):
    stop(living)
    living.clock.advance(seconds=1)
    with living.database.write() as connection:
        release(connection, RING, *ONA)
    assert again(copy, path).suppressed == 0


@pytest.mark.both_databases
def test_a_persons_own_entry_stays_beneath_a_stop_that_was_taken_back(copy, living, path):
    stop(living, reason=MANUAL)
    stop(living)
    with living.database.write() as connection:
        release(connection, RING, *ONA, only={STOP})
    again(copy, path)
    assert silent(copy) == {ONA: MANUAL}


def test_a_customer_who_was_brought_back_stays(copy, living, path):
    erase(living)
    living.clock.advance(minutes=1)
    how = {"priority": 0, "now": living.clock(), "choices": KnownChoices(allow_erased=True)}
    add_lines(living.batches, living.batch(), [line(2, customer("Ona"))], **how)
    assert again(copy, path).erased == 0
    assert names(copy) == {"Ona", "Jonas"}


def test_who_is_known_from_an_update_alone_is_erased_too(copy, living, path):
    update(copy, "Petras")
    update(living, "Petras")
    copy.clock.advance(minutes=1)
    erase(living, "Petras")
    assert again(copy, path).erased == 1
    assert [bool(row.encrypted) for row in copy.rows(Inbox)] == [False]


def test_a_rotated_digest_key_is_matched_as_long_as_it_is_kept(copy, living, path):
    erase(living)
    stop(living)
    rotated = Keyring([KEY], [NEXT, DIGEST])
    assert again(copy, path, rotated).erased == 1
    assert silent(copy, rotated) == {ONA: STOP}
    (row,) = copy.rows(Suppression)
    assert row.digest[:8] == rotated.digest_ids[0]


def test_what_a_destroyed_digest_key_has_noted_is_counted_and_the_key_named(copy, living, path):
    erase(living)
    stop(living)
    done = again(copy, path, Keyring([KEY], [NEXT]))
    assert (done.erased, done.suppressed) == (0, 0)
    assert done.unknown == {RING.digest_ids[0]: 2}
    assert names(copy) == {"Ona", "Jonas"}


@pytest.mark.parametrize("renew", [silent, lambda shelf, ring: stop(Shelf(shelf.database, ring, shelf.clock))])
def test_a_rotated_key_is_needed_no_more_for_what_was_noted_again_under_the_next_one(copy, living, path, renew):
    stop(living)
    living.clock.advance(seconds=1)
    renew(living, Keyring([KEY], [NEXT, DIGEST]))
    done = again(copy, path, Keyring([KEY], [NEXT]))
    assert (done.suppressed, done.unknown) == (1, {})


def test_an_address_that_came_without_its_text_gets_it_when_it_is_looked_up(copy, living, path):
    stop(living)
    again(copy, path)
    assert [bool(row.encrypted) for row in copy.rows(Suppression)] == [False]
    assert silent(copy) == {ONA: STOP}
    assert [bool(row.encrypted) for row in copy.rows(Suppression)] == [True]


def test_the_notes_of_two_machines_count_in_their_order(copy, path, clock, tmp_path, living):
    other = tmp_path / "other.journal"
    elsewhere = Shelf(Database(str(living.database.engine.url), journal=Journal(other, clock)), RING, clock)
    stop(living)
    clock.advance(minutes=1)
    with elsewhere.database.write() as connection:
        release(connection, RING, *ONA)
    elsewhere.database.close()
    notes = [*read(other)[0], *read(path)[0]]
    assert reapply(copy.database, RING, notes, now=clock() + timedelta(minutes=1)).suppressed == 0
