"""Suppressed addresses: found in every spelling and by every key of the ring, and never readable."""

from datetime import timedelta
from itertools import combinations

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import context_of_address
from onboarding_worker.core.database.tables import Suppression
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.channels import SuppressionReason, detail_of, text_of
from onboarding_worker.core.rows.suppressions import release, suppress, suppressed
from onboarding_worker.lists.decisions.store.do_not_contact import counts, kept_of, keys_gone
from onboarding_worker.lists.store.new_rows import bury
from tests.stored.plans import plans_of

ONA, TEXT = ("email", "ona@example.org"), ("sms", "+37060000001")
OLD, NEW = new_key(), new_key()
BEFORE, DURING, AFTER = Keyring([OLD]), Keyring([NEW, OLD]), Keyring([NEW])


@pytest.fixture
def connection(database):
    with database.write() as connection:
        yield connection


def rows(connection):
    return list(connection.execute(sa.select(Suppression.__table__)))


def test_an_address_is_known_again_however_it_is_written_and_is_nowhere_in_the_row(connection, keyring, clock):
    suppress(connection, keyring, *ONA, SuppressionReason.BOUNCE, "sender/email", now=clock())
    asked = [("email", "ONA@Example.ORG."), TEXT, ("email", "jonas@example.org")]
    assert suppressed(connection, keyring, asked) == {asked[0]: SuppressionReason.BOUNCE}
    (row,) = rows(connection)
    assert (row.channel, row.reason, row.source, row.created_at) == ("email", "bounce", "sender/email", clock())
    assert "ona" not in str(row)


def test_what_no_address_can_be_is_left_to_its_sender(connection, keyring):
    assert suppressed(connection, keyring, [("sms", "60000001"), ("email", "")]) == {}


def test_of_several_reasons_the_strongest_is_kept_with_its_source(connection, keyring, clock):
    for reason, by in (
        (SuppressionReason.STOP, "sender/sms"),
        (SuppressionReason.BOUNCE, "relay"),
        (SuppressionReason.MANUAL, "vita"),
    ):
        assert suppress(connection, keyring, *TEXT, reason, by, now=clock()) is SuppressionReason.STOP
    assert [(row.reason, row.source) for row in rows(connection)] == [("stop", "sender/sms")]
    assert (
        suppress(connection, keyring, *TEXT, SuppressionReason.COMPLAINT, "vita", now=clock.advance(days=1))
        is SuppressionReason.COMPLAINT
    )
    assert [(row.reason, row.created_at) for row in rows(connection)] == [("complaint", clock())]


def test_the_same_reason_again_leaves_who_gave_it_first_and_when(connection, keyring, clock):
    noon = clock()
    for reason in (SuppressionReason.BOUNCE, SuppressionReason.STOP):
        suppress(connection, keyring, *TEXT, reason, "first", now=noon)
        suppress(connection, keyring, *TEXT, reason, "second", now=clock.advance(days=1))
        assert [(row.reason, row.source, row.created_at) for row in rows(connection)] == [(reason, "first", noon)]


def test_what_is_released_for_one_reason_stays_for_another(connection, keyring, clock):
    suppress(connection, keyring, *TEXT, SuppressionReason.BOUNCE, "sender/sms", now=clock())
    assert release(connection, keyring, *TEXT, only={SuppressionReason.STOP}) is None
    assert suppressed(connection, keyring, [TEXT])
    assert release(connection, keyring, *TEXT) is SuppressionReason.BOUNCE
    assert release(connection, keyring, *TEXT) is None
    assert rows(connection) == []


@pytest.mark.parametrize(
    "order", [(SuppressionReason.MANUAL, SuppressionReason.STOP), (SuppressionReason.STOP, SuppressionReason.MANUAL)]
)
def test_what_a_person_entered_outlives_what_the_customer_takes_back(connection, keyring, clock, order):
    noon, by = clock(), {SuppressionReason.MANUAL: "vita", SuppressionReason.STOP: "sender/sms"}
    for reason in (*order, *order):  # repeated, neither changes anything
        suppress(connection, keyring, *TEXT, reason, by[reason], now=clock())
        clock.advance(days=1)
    kept = kept_of(connection, keyring, *TEXT)
    assert (kept.reason, kept.source, kept.manual_by) == (SuppressionReason.STOP, "sender/sms", "vita")
    assert release(connection, keyring, *TEXT, only={SuppressionReason.STOP}) is SuppressionReason.STOP
    kept = kept_of(connection, keyring, *TEXT)
    since = noon + timedelta(days=order.index(SuppressionReason.MANUAL))
    assert (kept.reason, kept.source, kept.since, kept.manual_by) == (SuppressionReason.MANUAL, "vita", since, None)
    assert release(connection, keyring, *TEXT, only={SuppressionReason.STOP}) is None
    assert suppressed(connection, keyring, [TEXT]) == {TEXT: SuppressionReason.MANUAL}


def test_an_entry_of_a_person_is_beneath_nothing_that_is_weaker_or_the_same(connection, keyring, clock):
    for reason in (
        SuppressionReason.BOUNCE,
        SuppressionReason.MANUAL,
        SuppressionReason.MANUAL,
        SuppressionReason.BOUNCE,
    ):
        suppress(connection, keyring, *TEXT, reason, "vita", now=clock())
    kept = kept_of(connection, keyring, *TEXT)
    assert (kept.reason, kept.manual_by) == (SuppressionReason.MANUAL, None)


def test_a_stop_alone_leaves_nothing_once_it_is_taken_back_nor_does_a_bounce_beneath_it(connection, keyring, clock):
    for reason in (SuppressionReason.BOUNCE, SuppressionReason.STOP):
        suppress(connection, keyring, *TEXT, reason, "sender/sms", now=clock())
    assert release(connection, keyring, *TEXT, only={SuppressionReason.STOP}) is SuppressionReason.STOP
    assert rows(connection) == []


def test_a_person_who_releases_an_address_releases_it_from_all(connection, keyring, clock):
    for reason in (SuppressionReason.MANUAL, SuppressionReason.COMPLAINT):
        suppress(connection, keyring, *ONA, reason, "vita", now=clock())
    assert release(connection, keyring, *ONA) is SuppressionReason.COMPLAINT
    assert rows(connection) == []


def test_what_a_person_entered_outlives_it_when_keys_rotate_too(connection, clock):
    suppress(connection, BEFORE, *TEXT, SuppressionReason.MANUAL, "vita", now=clock())
    suppress(connection, DURING, *TEXT, SuppressionReason.STOP, "sender/sms", now=clock())
    suppress(connection, BEFORE, *ONA, SuppressionReason.MANUAL, "vita", now=clock())
    suppress(connection, BEFORE, *ONA, SuppressionReason.STOP, "vita", now=clock())
    assert suppressed(connection, DURING, [ONA]) == {ONA: SuppressionReason.STOP}
    for address in (TEXT, ONA):
        assert release(connection, AFTER, *address, only={SuppressionReason.STOP}) is SuppressionReason.STOP
        assert kept_of(connection, AFTER, *address).reason is SuppressionReason.MANUAL


def test_a_look_up_stores_an_address_of_an_older_key_under_the_newest(connection, clock):
    suppress(connection, BEFORE, *ONA, SuppressionReason.STOP, "vita", now=clock())
    suppress(connection, BEFORE, *TEXT, SuppressionReason.STOP, "vita", now=clock())
    assert suppressed(connection, AFTER, [ONA]) == {}
    assert keys_gone(connection, DURING).addresses == 0
    assert keys_gone(connection, AFTER).addresses == 2
    assert suppressed(connection, DURING, [ONA]) == {ONA: SuppressionReason.STOP}
    assert suppressed(connection, AFTER, [ONA, TEXT]) == {ONA: SuppressionReason.STOP}
    assert keys_gone(connection, AFTER).addresses == 1
    assert [row.source for row in rows(connection)] == ["vita", "vita"]


@pytest.mark.both_databases
def test_who_is_known_by_keys_that_are_gone_is_counted_by_an_index(connection, database, clock):
    keys = [new_key() for _ in range(5)]
    for key in keys:
        suppress(connection, Keyring([key]), *ONA, SuppressionReason.STOP, "vita", now=clock())
        bury(connection, Keyring([key]), "C-1", clock(), final=True)
    with plans_of(database, "SELECT count(*)", is_small=True) as plans:
        assert {keys_gone(connection, Keyring(some)) for some in combinations(keys, 3)} == {(2, 2)}
        assert keys_gone(connection, Keyring(keys)) == (0, 0)
    assert plans
    assert not any("SCAN" in plan or "Seq Scan" in plan for plan in plans), plans


def test_the_address_is_kept_encrypted_and_moves_with_its_digest(connection, clock):
    suppress(connection, BEFORE, *ONA, SuppressionReason.STOP, "vita", now=clock())
    assert suppressed(connection, DURING, [ONA])
    (row,) = rows(connection)
    assert AFTER.decrypt(row.encrypted, context=context_of_address(row.digest))["text"] == text_of(*ONA)
    assert b"ona" not in row.encrypted


def test_what_is_known_by_two_keys_becomes_one_row_with_the_stronger_reason(connection, clock):
    for given in ((BEFORE, SuppressionReason.COMPLAINT), (AFTER, SuppressionReason.BOUNCE)):
        suppress(connection, given[0], *ONA, given[1], "vita", now=clock())
    assert suppressed(connection, DURING, [ONA]) == {ONA: SuppressionReason.COMPLAINT}
    assert suppressed(connection, AFTER, [ONA]) == {ONA: SuppressionReason.COMPLAINT}
    suppress(connection, BEFORE, *ONA, SuppressionReason.STOP, "vita", now=clock())
    assert (
        suppress(connection, DURING, *ONA, SuppressionReason.BOUNCE, "vita", now=clock()) is SuppressionReason.COMPLAINT
    )
    assert len(rows(connection)) == 1


def test_what_is_known_by_two_keys_is_released_only_if_both_reasons_may_be(connection, clock):
    """The customer texts START: that takes back a STOP, and no complaint, by whichever key that is known."""
    suppress(connection, BEFORE, *TEXT, SuppressionReason.COMPLAINT, "vita", now=clock())
    suppress(connection, AFTER, *TEXT, SuppressionReason.STOP, "sender/sms", now=clock())
    assert release(connection, DURING, *TEXT, only={SuppressionReason.STOP}) is None
    assert suppressed(connection, DURING, [TEXT]) == {TEXT: SuppressionReason.COMPLAINT}


@pytest.mark.both_databases
def test_a_reason_that_a_newer_release_has_stored_suppresses_and_outranks_all_others(connection, keyring, clock):
    suppress(connection, keyring, *TEXT, SuppressionReason.STOP, "sender/sms", now=clock())
    connection.execute(sa.text("UPDATE suppression SET reason = 'deceased'"))
    assert suppress(connection, keyring, *TEXT, SuppressionReason.COMPLAINT, "vita", now=clock()) == "deceased"
    found = suppressed(connection, keyring, [TEXT])
    assert found == {TEXT: "deceased"}
    assert detail_of(found[TEXT]) == "the address is on the do-not-contact list"
    assert kept_of(connection, keyring, *TEXT).reason == "deceased"
    assert counts(connection) == [("sms", "deceased", 1)]
    assert release(connection, keyring, *TEXT, only={SuppressionReason.STOP}) is None
    assert release(connection, keyring, *TEXT) == "deceased"
