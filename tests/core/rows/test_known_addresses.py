"""Suppressed addresses under other keys and from a journal, whose they are, and an account's reissues of a day."""

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.encrypted_values import ADDRESS
from onboarding_worker.core.database.journal import Happened, Journal, Note, read
from onboarding_worker.core.database.tables import CustomerRow, Suppression
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.channels import SuppressionReason, text_of
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.rows import usage
from onboarding_worker.core.rows.suppressions import (
    has_address,
    hash_anew,
    release,
    suppress,
    suppress_again,
    suppressed,
)
from onboarding_worker.core.rules.limits import day_of
from tests.stored.shelf import customer

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


def test_who_suppressed_an_address_is_kept_as_far_as_there_is_room(connection, keyring, clock):
    suppress(connection, keyring, *ONA, STOP, "v" * 300, now=clock())
    assert connection.execute(sa.select(Suppression.source)).scalar_one() == "v" * 80


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


@pytest.fixture
def journaled(sqlite_url, clock, tmp_path):
    """Does something with a database that has a journal; returns what was noted of each digest, as it was called."""
    path = tmp_path / "journal"
    database = Database(sqlite_url, journal=Journal(path, clock))
    names = {
        ring.digests(ADDRESS, text_of(*address))[0]: f"{name} {address[0]}"
        for name, ring in {"old": BEFORE, "new": AFTER}.items()
        for address in (ONA, TEXT)
    }

    def do(*calls):
        path.unlink(missing_ok=True)
        for of, *given, how in calls:
            with database.write() as connection:
                of(connection, *given, **how)
        found = read(path)[0] if path.exists() else []
        return [(names[note.digest], note.what, note.reason) for note in found]

    yield do
    database.close()


def test_a_journal_says_which_digest_is_on_the_list_and_which_is_not_any_more(journaled, clock):
    put, lifted, now = Happened.SUPPRESSED, (Happened.LIFTED, None), {"now": clock()}
    by = ("vita", now)
    assert journaled((suppress, BEFORE, *ONA, BOUNCE, *by)) == [("old email", put, BOUNCE)]
    assert journaled((suppress, AFTER, *TEXT, STOP, *by)) == [("new sms", put, STOP)]
    again = journaled((suppress, DURING, *ONA, STOP, *by))
    assert again == [("new email", put, BOUNCE), ("new email", put, STOP), ("old email", *lifted)]
    assert journaled((suppressed, DURING, [ONA, TEXT], {})) == []
    journaled((suppress, BEFORE, *TEXT, SuppressionReason.MANUAL, *by))
    merged = journaled((suppressed, DURING, [TEXT], {}))
    assert merged == [("new sms", put, STOP), ("old sms", *lifted)]
    taken_back = journaled((release, DURING, *TEXT, {"only": {STOP}}))
    assert set(taken_back) == {("new sms", put, SuppressionReason.MANUAL), ("new sms", *lifted), ("old sms", *lifted)}
    assert journaled((release, DURING, *ONA, {"only": {BOUNCE}})) == []
    assert set(journaled((release, DURING, *ONA, {}))) == {("new email", *lifted), ("old email", *lifted)}
