"""Our own links: one for each customer and purpose, until so long after its last message, or until it is revoked."""

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import StableLink
from onboarding_worker.core.foundation.keyring import CannotDecrypt
from onboarding_worker.core.rows.own_links import digests_of, ends_of, forget, renew
from tests.stored.own_link import LINKS

ONA, JONAS = ("Ona", "onboarding"), ("Jonas", "onboarding")


@pytest.fixture
def connection(database):
    with database.write() as connection:
        yield connection


@pytest.fixture
def link(connection, keyring, clock):
    """Reads Ona's link; makes it, if there is none."""
    return lambda: LINKS.ensure(connection, keyring, [ONA], now=clock()).get(ONA)


def row(connection):
    return connection.execute(sa.select(StableLink.__table__).where(StableLink.customer_id == "Ona")).one()


def secret(link):
    return link.address.rpartition("/")[2]


def test_a_links_end_is_put_off_by_a_message_that_leaves_more_than_a_day_later(connection, clock, link):
    made = link()
    assert (made.ends_at, made.is_put_off) == (clock() + LINKS.valid, False)
    clock.advance(days=1)
    assert link() == made
    clock.advance(seconds=1)
    later = link()
    assert (later.address, later.ends_at, later.is_put_off) == (made.address, clock() + LINKS.valid, True)
    LINKS.put_off(connection, [made], now=clock())
    assert ends_of(connection, [ONA, JONAS]) == {ONA: made.ends_at}
    LINKS.put_off(connection, [later], now=clock())
    assert ends_of(connection, [ONA]) == {ONA: clock() + LINKS.valid}


def test_a_revoked_link_leads_nowhere_and_no_other_one_is_made(connection, clock, link):
    link()
    connection.execute(sa.update(StableLink).values(revoked_at=clock()))
    assert link() is None
    assert ends_of(connection, [ONA]) == {ONA: clock()}


def test_a_link_is_found_by_its_secret_and_after_its_renewal_by_the_new_one_alone(connection, keyring, clock, link):
    made, stored = link(), row(connection)
    assert stored.digest in digests_of(keyring, secret(made))
    assert digests_of(keyring, secret(made) + "a") == ()
    connection.execute(sa.update(StableLink).values(opened_at=clock(), visited_at=clock()))
    clock.advance(hours=1)
    renew(connection, keyring, [stored], now=clock())
    renewed, new = row(connection), link()
    assert (renewed.digest in digests_of(keyring, secret(new)), secret(new) == secret(made)) == (True, False)
    assert (renewed.ends_at, renewed.created_at) == (stored.ends_at, clock())
    assert (renewed.opened_at, renewed.visited_at) == (None, None)


def test_a_forgotten_customers_links_are_gone_and_no_one_elses(connection, keyring, clock, link):
    link()
    assert [forget(connection, names) for names in ([], ["Jonas"])] == [0, 0]
    assert row(connection)
    assert forget(connection, ["Ona"]) == 1


JONAS_LATER = ("Jonas", "renewal")


@pytest.mark.both_databases
def test_each_customer_and_purpose_has_a_link_of_its_own_that_stays(connection, keyring, clock):
    first = LINKS.ensure(connection, keyring, [ONA, JONAS], now=clock())
    clock.advance(hours=1)
    both = LINKS.ensure(connection, keyring, [JONAS_LATER, JONAS], now=clock())
    assert both[JONAS] == first[JONAS]
    assert len({link.address for link in [*first.values(), *both.values()]}) == 3
    assert {key: link.made_at for key, link in both.items()} == {JONAS: first[JONAS].made_at, JONAS_LATER: clock()}
    assert both[JONAS_LATER].address.startswith("https://verify.test/s/")


@pytest.mark.both_databases
def test_what_is_done_to_one_link_is_done_to_no_other(connection, keyring, clock):
    made = LINKS.ensure(connection, keyring, [ONA, JONAS, JONAS_LATER], now=clock())
    before = {key: link.ends_at for key, link in made.items()}
    clock.advance(days=2)
    later = LINKS.ensure(connection, keyring, [ONA, JONAS], now=clock())
    LINKS.put_off(connection, [later[ONA]], now=clock())
    assert ends_of(connection, made) == before | {ONA: clock() + LINKS.valid}
    assert ends_of(connection, [JONAS_LATER]) == {JONAS_LATER: before[JONAS_LATER]}
    renew(connection, keyring, [row(connection)], now=clock())
    renewed = LINKS.ensure(connection, keyring, list(made), now=clock())
    assert [key for key, link in renewed.items() if link.address != made[key].address] == [ONA]
    renew(connection, keyring, [], now=clock())
    assert forget(connection, ["Jonas", "Nobody"]) == 2
    assert list(ends_of(connection, made)) == [ONA]


def test_a_link_that_no_key_decrypts_is_named_and_the_others_are_read(connection, keyring, clock, link):
    link()
    connection.execute(sa.update(StableLink).values(encrypted=b"x"))
    found = LINKS.ensure(connection, keyring, [ONA, JONAS], now=clock())
    assert isinstance(found[ONA], CannotDecrypt)
    assert found[JONAS].ends_at == clock() + LINKS.valid
