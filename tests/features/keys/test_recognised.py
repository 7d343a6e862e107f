"""What is recognised by its hash is recognised while keys rotate, and after it."""

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.tables import RefusedEvent, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.rows.verdicts import Verdict, verdict_of
from onboarding_worker.events.store.refused_events import RefusedEvents, erase_refused
from onboarding_worker.features.keys.store.key_rotation import KeyRotation, KeyUse
from onboarding_worker.wiring.store.encrypted_columns import ENCRYPTED
from tests.core.work.store.test_repeated_answers import held
from tests.events.store.test_refused_events import message
from tests.stored.shelf import Shelf, customer
from tests.stored.webhook_feed import APPROVED, WebhookFeed

OLD, NEW = new_key(), new_key()
BEFORE, DURING, AFTER = Keyring([OLD]), Keyring([NEW, OLD]), Keyring([NEW])


@pytest.mark.parametrize("ring", [DURING, AFTER], ids=["while they rotate", "after it"])
def test_a_token_is_known_again_under_other_keys(database, clock, ring):
    before = Shelf(database, BEFORE, clock)
    before.add(customer("Ona"))
    before.issue(token="token-of-ona", reference="scan-of-ona")
    if ring is AFTER:
        rotation = KeyRotation(database, DURING)
        for column in rotation.columns:
            assert rotation.chunk(column, now=clock()).unreadable == 0
    after = Shelf(database, ring, clock)
    after.add(customer("Jonas"))
    after.issue(token="token-of-ona", reference="scan-of-jonas")
    assert set(held(after)) == {"Ona", "Jonas"}


def test_a_token_that_a_process_without_the_new_key_stored_again_does_not_stop_the_rotation(database, clock):
    for ring, name in ((DURING, "Ona"), (BEFORE, "Jonas")):
        shelf = Shelf(database, ring, clock)
        shelf.add(customer(name))
        shelf.issue(token="one-token", reference=f"scan-of-{name}")
    rotation = KeyRotation(database, DURING)
    for column in rotation.columns:
        rotation.chunk(column, now=clock())
    digests = {row.customer_id: row.token_digest for row in shelf.rows(SessionRow)}
    assert (digests["Ona"][:8], digests["Jonas"]) == (DURING.digest_ids[0], None)


@pytest.mark.parametrize("ring", [DURING, AFTER], ids=["while they rotate", "after it"])
def test_a_result_that_was_signed_is_known_for_it_under_other_keys_also_once_its_link_is_erased(database, clock, ring):
    before = Shelf(database, BEFORE, clock)
    before.add(customer("Ona"))
    before.issue(reference="scan-1")
    WebhookFeed(before).receive(APPROVED)
    before.set(SessionRow, encrypted=ERASED)
    if ring is AFTER:
        rotation, key_use = KeyRotation(database, DURING), KeyUse(database, DURING)
        assert key_use.to_change()["results"] == 1
        for column in rotation.columns:
            assert rotation.chunk(column, now=clock()).unreadable == 0
        assert key_use.to_change()["results"] == 0
    assert verdict_of(ring, before.row(SessionRow)) is Verdict.SIGNED


def test_after_the_keys_were_rotated_a_customers_messages_are_still_found(shelf):
    old, new = new_key(), new_key()
    RefusedEvents(shelf.database, Keyring([old])).keep([message()], now=shelf.clock())
    (column,) = [one for one in ENCRYPTED if one.value is RefusedEvent.encrypted]
    assert KeyRotation(shelf.database, Keyring([new, old])).chunk(column, now=shelf.clock()).changed == 1
    with shelf.database.write() as connection:
        assert connection.execute(sa.select(sa.func.count(RefusedEvent.customer_digest))).scalar() == 1
        assert erase_refused(connection, Keyring([new]), ["C-1"]) == 1
