"""Suppressed addresses under other keys and from a journal, whose they are, and an account's reissues of a day."""

import pytest
import sqlalchemy as sa

from tests.stored.shelf import customer
from worker.core.customers.customers import Channel
from worker.core.customers.store import usage
from worker.core.customers.store.suppressions import has_address, hash_anew, suppress, suppress_again, suppressed
from worker.core.database.journal import Happened, Note
from worker.core.database.tables import CustomerRow, Suppression
from worker.core.foundation.keyring import Keyring, new_key
from worker.core.limits.limits import day_of
from worker.core.model.channels import SuppressionReason, text_of

ONA, TEXT = ("email", "ona@example.org"), ("sms", "+37060000001")
OLD, NEW = new_key(), new_key()
BEFORE, DURING, AFTER = Keyring([OLD]), Keyring([NEW, OLD]), Keyring([NEW])
STOP, BOUNCE = SuppressionReason.STOP, SuppressionReason.BOUNCE


@pytest.fixture
def connection(database):
    with database.write() as connection:
        yield connection


def digests(connection):
    return set(connection.execute(sa.select(Suppression.digest)).scalars())


def test_addresses_are_hashed_anew_without_being_asked_about_and_unreadable_ones_stay(connection, clock):
    for keyring, address in ((BEFORE, ONA), (Keyring([new_key()]), TEXT)):
        suppress(connection, keyring, *address, STOP, "vita", now=clock())
    assert hash_anew(connection, DURING, digests(connection)) == (1, 1)
    assert suppressed(connection, AFTER, [ONA, TEXT]) == {ONA: STOP}
    assert len(digests(connection)) == 2


def test_what_a_journal_names_is_suppressed_again_and_a_stored_reason_stays(connection, keyring, clock):
    suppress(connection, keyring, *ONA, STOP, "vita", now=clock())
    notes = [
        Note(
            Happened.SUPPRESSED, keyring.digests("address", text_of(*address))[0], clock(), Channel(address[0]), BOUNCE
        )
        for address in (ONA, TEXT)
    ]
    assert suppress_again(connection, notes) == 1
    assert suppressed(connection, keyring, [ONA, TEXT], renew=False) == {ONA: STOP, TEXT: BOUNCE}
    assert hash_anew(connection, keyring, digests(connection)) == (1, 1)  # it has no text yet
    assert suppressed(connection, keyring, [TEXT]) == {TEXT: BOUNCE}  # now it has
    assert hash_anew(connection, keyring, digests(connection)) == (2, 0)


def test_an_address_is_that_of_every_customer_who_has_it_and_of_no_other(shelf, keyring):
    def whose(channel, address):
        with shelf.database.read() as reading:
            query = sa.select(CustomerRow.customer_id).where(has_address(keyring, channel, address))
            return set(reading.execute(query).scalars())

    people = {name: customer(name).person for name in ("Ona", "Jonas")}
    shelf.add(*(customer(name) for name in people))
    assert whose("email", "ona@example.org") == {"Ona"}
    assert whose("whatsapp", people["Ona"].phone) == whose("sms", people["Ona"].phone) == {"Ona", "Jonas"}
    assert whose("sms", "+37060000002") == set()


@pytest.mark.parametrize("lock", [True, False])
def test_an_accounts_reissues_are_counted_by_account_and_day(connection, clock, lock):
    def today(account):
        return usage.reissues_today(connection, account, lock=lock, now=clock())

    assert today("kyc") == 0
    day = day_of(clock())
    usage.reissues_so_far(connection, ["kyc", "au"], day)
    for more in ({"kyc": 2, "au": 1}, {"kyc": 3, "au": 0}):
        usage.count_reissues(connection, more, day)
    assert (today("kyc"), today("au"), today("us")) == (5, 1, 0)
    clock.advance(days=1)
    assert today("kyc") == 0
