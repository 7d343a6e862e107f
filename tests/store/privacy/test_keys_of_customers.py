"""Each customer has a key of its own, which goes with the customer: then no copy of the values can be read."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.store.inbox.test_subject_requests import MARKERS, ONA, arrival, take
from tests.store.inbox.test_subject_requests import ona as ona
from tests.store.inbox.test_subject_requests import readable as written
from tests.store.privacy.test_key_rotation import rotate
from tests.store.shelf import Shelf, customer, line
from tests.store.statements import statements
from worker.domain.events.incoming import EventKind
from worker.domain.events.refused import RefusedMessage
from worker.domain.model.audit import Act
from worker.domain.model.endings import Cancel, Kind
from worker.domain.model.reasons import Reason
from worker.domain.model.states import JobState
from worker.engine.key_check import check_keys
from worker.foundation.keyring import OF_CUSTOMER, KeyGone, Keyring, customer_key_of, new_key
from worker.settings import SettingsError
from worker.store.base.database import ACT
from worker.store.base.encrypted_columns import BY_CUSTOMER, CUSTOMER_KEYS, ENCRYPTED, uses_of_keys, without_key
from worker.store.base.keys_of_customers import readable
from worker.store.inbox.refused_events import RefusedEvents
from worker.store.inbox.subject_requests import SubjectRequests
from worker.store.operators.ledger import Ledger
from worker.store.privacy.erasure import Erasing
from worker.store.privacy.inbox_retention import InboxRetention
from worker.store.privacy.key_rotation import KeyRotation
from worker.store.privacy.key_use import KeyUse
from worker.store.tables import Attempt, CustomerKey, CustomerRow, Inbox, Job, RefusedEvent, SessionRow

KEY, DIGEST_KEY, NEXT = new_key(), new_key(), new_key()
WITH, WITHOUT = (Keyring([KEY], [DIGEST_KEY], customer_keys=own) for own in (True, False))
ROTATED = Keyring([NEXT, KEY], [DIGEST_KEY], customer_keys=True)


@pytest.fixture
def acting(database, clock):
    """A shelf whose customers have keys of their own."""
    database.engine.update_execution_options(**{ACT: Act("ops", "customer erase")})
    return Shelf(database, WITH, clock)


def keys_of(shelf, customer_id):
    return shelf.rows(CustomerKey, customer_id=customer_id)


def values(shelf):
    """Each encrypted value: its column, the value, and its context."""
    found = []
    with shelf.database.read() as connection:
        for column in ENCRYPTED:
            for value, *names in connection.execute(sa.select(column.value, *column.named_by)):
                if value and value != b"copy":
                    found.append((column, value, column.context(*names)))
    return found


def erase(shelf, customer_id="Ona", keyring=WITH):
    requests = SubjectRequests(shelf.database, keyring)
    return requests.erase(customer_id, reason="", forget_suppressed=True, now=shelf.clock())


def put_back(shelf, before, *tables):
    """Put rows back as a backup has them."""
    with shelf.database.write() as connection:
        for table in tables:
            for row in before[table]:
                values = {name: value for name, value in row._asdict().items() if name != "id"}
                key = table.id if hasattr(table, "id") else table.customer_id
                connection.execute(sa.update(table).where(key == getattr(row, key.key)).values(values))


def copy_of(shelf, *tables):
    with shelf.database.read() as connection:
        return {table: connection.execute(sa.select(table.__table__)).all() for table in tables}


def test_all_that_belongs_to_one_customer_is_encrypted_by_the_customers_key(ona):
    (key,) = keys_of(ona, "Ona")
    kinds = {(column.name, bytes(value[:1])) for column, value, _ in values(ona)}
    assert {name for name, version in kinds if version == OF_CUSTOMER} == {
        "customers",
        "lines of lists",
        "sessions",
        "words of providers and senders",
        "events",
        "refused events",
    }
    # What the ring itself encrypts outlives a customer on purpose, or is a key.
    assert {name for name, version in kinds if version != OF_CUSTOMER} == {"suppressed addresses", CUSTOMER_KEYS}
    assert customer_key_of(ona.row(CustomerRow, customer_id="Ona").encrypted) == key.id
    assert [marker for marker in MARKERS if marker not in written(ona)] == []


def test_an_erased_customers_values_open_from_no_copy_with_the_keys_that_are_left(ona):
    copies = [(value, context) for _, value, context in values(ona) if customer_key_of(value)]
    jonas = {key.id for key in keys_of(ona, "Jonas")}
    proof = erase(ona)
    assert proof.facts["erased"]["keys of the customer"] == 1
    assert "cannot be read" in proof.facts["kept"]["backups without the keys of customers"]
    assert {key.id for key in ona.rows(CustomerKey)} == jonas
    with ona.database.read() as connection:
        ring = readable(connection, WITH, [value for value, _ in copies])
    for value, context in copies:
        if customer_key_of(value) not in jonas:
            with pytest.raises(KeyGone):
                ring.decrypt(value, context=context)
    assert sum(customer_key_of(value) in jonas for value, _ in copies) == 3  # Jonas, his line and his session


TABLES = (CustomerRow, Job, SessionRow, Attempt)


def test_an_erased_customer_in_an_older_backup_reads_as_erased_and_the_others_go_on(ona):
    ona.add(customer("Ona", purpose="third"), customer("Jonas", purpose="third"))
    backup = copy_of(ona, *TABLES)
    erase(ona)
    put_back(ona, backup, *TABLES)

    assert [job.request.customer.customer_id for job in ona.claim()] == ["Jonas"]
    (waited,) = ona.rows(Job, customer_id="Ona", purpose="third")
    assert (waited.state, waited.reason) == (JobState.FAILED, Reason.ERASED)
    lines = ona.facts.lines(min(row.batch_id for row in ona.rows(Job)), with_links=True)
    links = {line.customer_id: (line.opening.link, line.unreadable) for line in lines}
    assert links["Jonas"][0].startswith("https://")
    assert links["Ona"][0] == ""
    assert "destroyed" in links["Ona"][1]
    assert [one.words for one in Ledger(ona.database, WITH).words_about("Ona", now=ona.clock())] == [None]
    exported = SubjectRequests(ona.database, WITH).export("Ona", now=ona.clock())
    assert exported["person"]["erased"]
    assert all(row["erased"] for row in exported["rows"] if "external_ref" not in row)
    with ona.database.read() as connection:
        assert without_key(connection)["customers"] == 1
    check_keys(ona.database, WITH)  # one customer who is gone stops no process


def test_a_database_without_any_key_of_a_customer_starts_no_process(acting):
    acting.add(ONA)
    with acting.database.write() as connection:
        connection.execute(sa.delete(CustomerKey))
    with pytest.raises(SettingsError, match="the keys of customers are not in this database"):
        check_keys(acting.database, WITH)


def test_values_from_before_stay_readable_and_a_rotation_moves_them_to_the_customers_keys(database, clock):
    before, after = Shelf(database, WITHOUT, clock), Shelf(database, WITH, clock)
    before.add(ONA, customer("Jonas"))
    (first, second) = after.open(after.claim())
    failed = after.failed(second, Kind.BAD_INPUT, Cancel(Reason.BAD_INPUT, ""), words="Invalid value")
    before.finish(before.got(first))
    before.finish(failed)
    assert before.rows(CustomerKey) == []
    assert KeyUse(database, WITH).to_change()["customers"] == 2

    # Two persons, the line of one, a session and what a provider said.
    assert rotate(before, WITH) == (5, 0, 0)
    assert rotate(before, WITH) == (0, 0, 0)
    assert sum(KeyUse(database, WITH).to_change().values()) == 0
    with database.read() as connection:
        uses = uses_of_keys(connection)
    assert sum(uses[BY_CUSTOMER].values()) == 5
    assert uses[WITH.ids[0]] == {CUSTOMER_KEYS: 2}
    # A ring without the setting still reads all of it.
    assert [message.customer.person.email for message in before.send()] == ["ona@example.org"]


def test_a_later_rotation_changes_the_small_keys_alone_and_then_the_old_key_can_be_destroyed(ona):
    number = len(ona.rows(CustomerKey))
    persons = [row.encrypted for row in ona.rows(CustomerRow)]
    (keys,) = [column for column in ENCRYPTED if column.name == CUSTOMER_KEYS]
    assert KeyRotation(ona.database, ROTATED).chunk(keys, now=ona.clock()).changed == number
    assert [row.encrypted for row in ona.rows(CustomerRow)] == persons
    rotate(ona, ROTATED)
    assert KeyUse(ona.database, ROTATED).needs(WITH.ids[0], now=ona.clock()).values == {}
    alone = Keyring([NEXT], [DIGEST_KEY], customer_keys=True)
    assert [marker for marker in MARKERS if marker not in written(ona, alone)] == []


def test_a_lost_key_of_the_ring_holds_the_rows_and_names_it_and_a_list_mends_the_customer(acting):
    acting.add(ONA, customer("Jonas"))
    other = Shelf(acting.database, Keyring([NEXT], [DIGEST_KEY], customer_keys=True), acting.clock)
    assert other.claim() == []
    assert {(row.state, row.reason) for row in other.rows(Job)} == {(JobState.HELD, Reason.CANNOT_DECRYPT)}
    assert WITH.ids[0] in other.job("Ona").detail
    other.add(customer("Ona", purpose="again"))
    assert [job.request.customer.person.email for job in other.claim()] == ["ona@example.org"]
    assert len(keys_of(other, "Ona")) == 2
    assert erase(other, keyring=other.keyring).facts["erased"]["keys of the customer"] == 2


def test_a_customer_whose_time_is_over_loses_the_key_too(acting):
    acting.add(ONA)
    (job,) = acting.open(acting.claim())
    acting.finish(acting.failed(job, Kind.BAD_INPUT, Cancel(Reason.BAD_INPUT, ""), words="Invalid"))
    acting.clock.advance(days=100)
    acting.add(customer("Jonas"))
    since = acting.clock() - timedelta(days=90)
    assert Erasing(acting.database).chunk(after=None, since=since, now=acting.clock()).customers == 1
    assert [row.customer_id for row in acting.rows(CustomerKey)] == ["Jonas"]


def test_what_a_call_brings_after_an_erasure_leaves_no_key(acting):
    acting.add(ONA, customer("Jonas"))
    opened = acting.open(acting.claim())
    erase(acting)
    erase(acting, "Jonas")
    words = acting.failed(opened[1], Kind.BAD_INPUT, Cancel(Reason.BAD_INPUT, ""), words="Invalid Jonas")
    acting.finish(acting.got(opened[0]), words)
    assert acting.rows(CustomerKey) == []
    assert [row.encrypted for row in acting.rows(SessionRow)] == [b""]


def test_an_event_makes_a_customer_with_a_key_and_an_event_erases_both(acting):
    take(acting, replace(arrival(acting, EventKind.REQUESTED), line=line(0, ONA)))
    assert "ref-vilnius-7" in written(acting)
    take(acting, arrival(acting, EventKind.UPDATED, columns={"address": "Vilnius 3"}))
    assert len(keys_of(acting, "Ona")) == 1
    assert "Vilnius 3" in written(acting)
    take(acting, arrival(acting, EventKind.ERASED))
    assert acting.rows(CustomerKey) == []


def test_the_key_of_an_update_of_a_customer_whom_nobody_knows_goes_with_the_update(acting):
    take(acting, arrival(acting, EventKind.UPDATED, columns={"address": "Vilnius 3"}))
    assert acting.rows(CustomerRow) == []
    assert len(keys_of(acting, "Ona")) == 1
    retention = InboxRetention(acting.database)
    assert retention.erase_updates(since=acting.clock()) == 1
    assert acting.rows(CustomerKey) == []
    assert [row.encrypted for row in acting.rows(Inbox)] == [b""]


def test_a_refused_event_has_a_key_of_its_own_that_goes_with_it(ona):
    events = RefusedEvents(ona.database, WITH, kept=timedelta(days=14))
    (event,) = ona.rows(RefusedEvent)
    (kept,) = events.oldest("requests", most=9)
    assert kept.content["customer_id"] == "Ona"
    assert [row.customer_id for row in ona.rows(CustomerKey) if row.id == event.id] == [None]
    events.remove(kept)
    assert [row for row in ona.rows(CustomerKey) if row.id == event.id] == []
    assert len(ona.rows(CustomerKey)) == 2


def test_an_event_whose_key_is_lost_with_a_key_of_the_ring_can_be_refused_again(acting):
    def events(ring):
        return RefusedEvents(acting.database, ring, kept=timedelta(days=14))

    given = RefusedMessage("requests", "1", "it is no event", "", "", 9, "Ona", {"body": "cXVpcmlu"})
    other = replace(given, identity="2")
    first, _ = events(WITH).keep([given, other], now=acting.clock())
    left = Keyring([NEXT], [DIGEST_KEY], customer_keys=True)

    assert events(left).keep([given, replace(given, identity="3")], now=acting.clock())[0] == first

    assert events(left).find(first).content["body"] == "cXVpcmlu"
    assert sorted(one.content is None for one in events(left).oldest("requests", most=9)) == [False, False, True]
    assert len(acting.rows(CustomerKey)) == 3


@pytest.mark.parametrize(("keyring", "more"), [(WITHOUT, 0), (WITH, 2)])
def test_the_keys_of_a_chunk_cost_a_statement_or_two_and_nothing_without_the_setting(database, clock, keyring, more):
    shelf = Shelf(database, keyring, clock)
    batch = shelf.add(customer("first"))

    def add(start):
        people = [customer(f"C-{start + number}") for number in range(50)]
        with statements(database) as made:
            shelf.add(*people, batch=batch, first_row=start)
        return [one for one in made if "customer_key" in one]

    add(100)
    assert len(add(200)) == more
    with statements(database) as made:
        shelf.claim(most=50)
    assert len([one for one in made if "customer_key" in one]) == (1 if more else 0)
