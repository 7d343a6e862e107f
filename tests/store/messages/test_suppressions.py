"""Suppressed addresses: known again however they are written and by whatever key, and readable by nobody."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from worker.domain.contact.suppression import Reason
from worker.foundation.keyring import Keyring, new_key
from worker.store.messages.suppressions import kept_of, keys_gone, release, suppress, suppressed
from worker.store.tables import Suppression

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
    suppress(connection, keyring, *ONA, Reason.BOUNCE, "sender/email", now=clock())
    asked = [("email", "ONA@Example.ORG."), TEXT, ("email", "jonas@example.org")]
    assert suppressed(connection, keyring, asked) == {asked[0]: Reason.BOUNCE}
    (row,) = rows(connection)
    assert (row.channel, row.reason, row.source, row.created_at) == ("email", "bounce", "sender/email", clock())
    assert "ona" not in str(row)


def test_what_no_address_can_be_is_left_to_its_sender(connection, keyring):
    assert suppressed(connection, keyring, [("sms", "60000001"), ("email", "")]) == {}


def test_of_several_reasons_the_strongest_is_kept_with_who_said_so(connection, keyring, clock):
    for reason, by in ((Reason.STOP, "sender/sms"), (Reason.BOUNCE, "relay"), (Reason.MANUAL, "vita")):
        assert suppress(connection, keyring, *TEXT, reason, by, now=clock()) is Reason.STOP
    assert [(row.reason, row.source) for row in rows(connection)] == [("stop", "sender/sms")]
    assert suppress(connection, keyring, *TEXT, Reason.COMPLAINT, "vita", now=clock.advance(days=1)) is Reason.COMPLAINT
    assert [(row.reason, row.created_at) for row in rows(connection)] == [("complaint", clock())]


def test_what_is_released_for_one_reason_stays_for_another(connection, keyring, clock):
    suppress(connection, keyring, *TEXT, Reason.BOUNCE, "sender/sms", now=clock())
    assert release(connection, keyring, *TEXT, only={Reason.STOP}) is None
    assert suppressed(connection, keyring, [TEXT])
    assert release(connection, keyring, *TEXT) is Reason.BOUNCE
    assert release(connection, keyring, *TEXT) is None
    assert rows(connection) == []


@pytest.mark.parametrize("order", [(Reason.MANUAL, Reason.STOP), (Reason.STOP, Reason.MANUAL)])
def test_what_a_person_entered_outlives_what_the_customer_takes_back(connection, keyring, clock, order):
    noon, by = clock(), {Reason.MANUAL: "vita", Reason.STOP: "sender/sms"}
    for reason in (*order, *order):  # said again, neither changes anything
        suppress(connection, keyring, *TEXT, reason, by[reason], now=clock())
        clock.advance(days=1)
    kept = kept_of(connection, keyring, *TEXT)
    assert (kept.reason, kept.source, kept.manual_by) == (Reason.STOP, "sender/sms", "vita")
    assert release(connection, keyring, *TEXT, only={Reason.STOP}) is Reason.STOP
    kept = kept_of(connection, keyring, *TEXT)
    since = noon + timedelta(days=order.index(Reason.MANUAL))
    assert (kept.reason, kept.source, kept.since, kept.manual_by) == (Reason.MANUAL, "vita", since, None)
    assert release(connection, keyring, *TEXT, only={Reason.STOP}) is None
    assert suppressed(connection, keyring, [TEXT]) == {TEXT: Reason.MANUAL}


def test_an_entry_of_a_person_is_beneath_nothing_that_is_weaker_or_the_same(connection, keyring, clock):
    for reason in (Reason.BOUNCE, Reason.MANUAL, Reason.MANUAL, Reason.BOUNCE):
        suppress(connection, keyring, *TEXT, reason, "vita", now=clock())
    kept = kept_of(connection, keyring, *TEXT)
    assert (kept.reason, kept.manual_by) == (Reason.MANUAL, None)


def test_a_stop_alone_leaves_nothing_once_it_is_taken_back_nor_does_a_bounce_beneath_it(connection, keyring, clock):
    for reason in (Reason.BOUNCE, Reason.STOP):
        suppress(connection, keyring, *TEXT, reason, "sender/sms", now=clock())
    assert release(connection, keyring, *TEXT, only={Reason.STOP}) is Reason.STOP
    assert rows(connection) == []


def test_a_person_who_releases_an_address_releases_it_from_all(connection, keyring, clock):
    for reason in (Reason.MANUAL, Reason.COMPLAINT):
        suppress(connection, keyring, *ONA, reason, "vita", now=clock())
    assert release(connection, keyring, *ONA) is Reason.COMPLAINT
    assert rows(connection) == []


def test_what_a_person_entered_outlives_it_when_keys_rotate_too(connection, clock):
    suppress(connection, BEFORE, *TEXT, Reason.MANUAL, "vita", now=clock())
    suppress(connection, DURING, *TEXT, Reason.STOP, "sender/sms", now=clock())
    suppress(connection, BEFORE, *ONA, Reason.MANUAL, "vita", now=clock())
    suppress(connection, BEFORE, *ONA, Reason.STOP, "vita", now=clock())
    assert suppressed(connection, DURING, [ONA]) == {ONA: Reason.STOP}
    for address in (TEXT, ONA):
        assert release(connection, AFTER, *address, only={Reason.STOP}) is Reason.STOP
        assert kept_of(connection, AFTER, *address).reason is Reason.MANUAL


def test_an_address_kept_by_an_older_key_is_kept_by_the_newest_once_it_was_asked_for(connection, clock):
    suppress(connection, BEFORE, *ONA, Reason.STOP, "vita", now=clock())
    suppress(connection, BEFORE, *TEXT, Reason.STOP, "vita", now=clock())
    assert suppressed(connection, AFTER, [ONA]) == {}
    assert keys_gone(connection, DURING) == 0
    assert suppressed(connection, DURING, [ONA], renew=False) == {ONA: Reason.STOP}
    assert keys_gone(connection, AFTER) == 2
    assert suppressed(connection, DURING, [ONA]) == {ONA: Reason.STOP}
    assert suppressed(connection, AFTER, [ONA, TEXT]) == {ONA: Reason.STOP}
    assert keys_gone(connection, AFTER) == 1
    assert [row.source for row in rows(connection)] == ["vita", "vita"]


def test_what_is_known_by_two_keys_becomes_one_row_with_the_stronger_reason(connection, clock):
    for given in ((BEFORE, Reason.COMPLAINT), (AFTER, Reason.BOUNCE)):
        suppress(connection, given[0], *ONA, given[1], "vita", now=clock())
    assert suppressed(connection, DURING, [ONA]) == {ONA: Reason.COMPLAINT}
    assert suppressed(connection, AFTER, [ONA]) == {ONA: Reason.COMPLAINT}
    suppress(connection, BEFORE, *ONA, Reason.STOP, "vita", now=clock())
    assert suppress(connection, DURING, *ONA, Reason.BOUNCE, "vita", now=clock()) is Reason.COMPLAINT
    assert len(rows(connection)) == 1
