"""Keys rotate in every column, while other transactions go on, and a key that nothing needs can be retired."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import (
    ERASED,
    context_of_uploaded_list,
    context_of_uploaded_part,
    decrypt_line,
    decrypt_link,
    decrypt_person,
    encrypt_update,
)
from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.tables import (
    CustomerRow,
    Inbox,
    Job,
    PendingDetails,
    SessionRow,
    StableLink,
    Suppression,
    UploadedList,
    UploadedPart,
)
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.endings import Cancel, Kind
from onboarding_worker.core.model.incoming import EventKind, Outcome
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.rows.own_links import StableLinks, digests_of
from onboarding_worker.core.rows.suppressions import suppress, suppressed
from onboarding_worker.events.store.refused_events import RefusedEvents, RefusedMessage
from onboarding_worker.features.keys.store.key_rotation import KeyRotation, KeyUse
from onboarding_worker.providers.webhooks.contract import Key
from onboarding_worker.reporting.store.processes import Processes, Running
from onboarding_worker.wiring.store.encrypted_columns import ENCRYPTED
from tests.stored.shelf import Shelf, customer
from tests.stored.webhook_feed import APPROVED, WebhookFeed, update
from tests.suite.some import some

OLD, NEW, OLD_DIGEST, NEW_DIGEST = (new_key() for _ in range(4))
BEFORE = Keyring([OLD], [OLD_DIGEST])
DURING = Keyring([NEW, OLD], [NEW_DIGEST, OLD_DIGEST])
AFTER = Keyring([NEW], [NEW_DIGEST])
OLD_DIGEST_ID = BEFORE.digest_ids[0]
ADDRESS = ("email", "stop@example.org")
LINKS, LINKED = StableLinks("https://verify.example.com", timedelta(days=60)), ("C-2", "onboarding")
CUSTOMERS = 7


@pytest.fixture
def full(database, clock) -> Shelf:
    """Rows in every column that holds encrypted values, under the old keys."""
    shelf = Shelf(database, BEFORE, clock)
    shelf.add(*(customer(f"C-{number}", external_ref=f"ref-{number}") for number in range(CUSTOMERS - 1)))
    for number, opened in enumerate(shelf.open(shelf.claim())):
        shelf.finish(shelf.got(opened, shelf.session(token=f"token-of-{number}")))
    shelf.add(customer("C-refused", external_ref="ref-refused"))
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(opened, Kind.BAD_INPUT, Cancel(Reason.BAD_INPUT, ""), words="Invalid value"))
    unapproved, _ = shelf.batches.open(name="b", digest="b", again=False, now=clock(), hold="until a person agrees")
    shelf.add(customer("C-1", external_ref="ref-again"), batch=unapproved.id)
    WebhookFeed(shelf).keep(APPROVED)
    refused = RefusedMessage("q", "1", "no type", "event", "crm/1", 20, customer_id="C-1", content={"body": "…"})
    RefusedEvents(database, BEFORE).keep([refused], now=clock())
    with database.write() as connection:
        suppress(connection, BEFORE, *ADDRESS, SuppressionReason.STOP, "vita", now=clock())
        LINKS.ensure(connection, BEFORE, [LINKED], now=clock())
        connection.execute(
            sa.insert(UploadedList).values(
                id=1,
                name="list.csv",
                digest="0",
                size=1,
                state="arrived",
                uploaded_by="vita",
                uploaded_at=clock(),
                version=1,
                agreed=[],
                encrypted=BEFORE.encrypt({"how": {}}, context=context_of_uploaded_list(1)),
                reason="",
                tries=0,
                owner="",
            )
        )
        sealed = BEFORE.encrypt({"bytes": ""}, context=context_of_uploaded_part(1, "list", 0))
        connection.execute(sa.insert(UploadedPart).values(list_id=1, what="list", number=0, encrypted=sealed))
        id_ = new_id(clock())
        connection.execute(
            sa.insert(Inbox).values(
                id=id_,
                sender="signup",
                every_customer=False,
                source="crm",
                event_id="1",
                digest=BEFORE.digests("event", "1")[0],
                kind=EventKind.UPDATED,
                customer_id="C-1",
                purpose="",
                occurred_at=clock(),
                received_at=clock(),
                outcome=Outcome.TAKEN,
                detail="",
                encrypted=encrypt_update(BEFORE, id_, {"locale": "lt"}),
            )
        )
    return shelf


def rotate(shelf, ring=DURING, **how):
    """Rotates once. Returns the sums of all chunks: changed, busy, unreadable."""
    rotation, sums = KeyRotation(shelf.database, ring, **how), [0, 0, 0]
    for column in rotation.columns:
        after, ended = None, False
        while not ended:
            chunk = rotation.chunk(column, after, now=shelf.clock())
            sums = [one + more for one, more in zip(sums, (chunk.changed, chunk.busy, chunk.unreadable), strict=True)]
            after, ended = chunk.after, chunk.after is None
    return tuple(sums)


def values_by(shelf, ring):
    return KeyUse(shelf.database, ring).uses()[0]


def test_each_column_that_can_hold_encrypted_values_holds_one_here(full):
    assert values_by(full, BEFORE).keys() == {BEFORE.ids[0]}
    assert set(values_by(full, BEFORE)[BEFORE.ids[0]]) == {column.name for column in ENCRYPTED}


def test_after_a_rotation_the_new_keys_alone_open_and_find_everything(full):
    total = sum(values_by(full, BEFORE)[BEFORE.ids[0]].values())
    assert rotate(full) == (total, 0, 0)

    assert values_by(full, DURING).keys() == {AFTER.ids[0]}
    for row in some(full.rows(CustomerRow)):
        assert decrypt_person(AFTER, row.customer_id, row.encrypted).email == f"{row.customer_id.lower()}@example.org"
    (waiting,) = full.rows(PendingDetails)
    assert decrypt_person(AFTER, waiting.customer_id, waiting.encrypted).email == "c-1@example.org"
    for row in some(full.rows(Job)):
        assert decrypt_line(AFTER, row.batch_id, row.row, row.encrypted).external_ref.startswith("ref-")
    for row in some(full.rows(SessionRow)):
        assert decrypt_link(AFTER, row.id, row.encrypted).startswith("https://")
    with full.database.write() as connection:
        assert suppressed(connection, AFTER, [ADDRESS]) == {ADDRESS: SuppressionReason.STOP}
    assert len(full.rows(Suppression)) == 1
    named_by_token = replace(update(), match=((Key.TOKEN, "token-of-3"),))
    after = WebhookFeed(Shelf(full.database, AFTER, full.clock))
    assert after.receive(replace(APPROVED, match=named_by_token.match)).listed == []


def address(shelf, ring):
    with shelf.database.write() as connection:
        return LINKS.ensure(connection, ring, [LINKED], now=shelf.clock())[LINKED].address


def test_after_a_rotation_a_stable_link_is_sent_as_it_was_and_found_by_the_new_keys_alone(full):
    sent = address(full, BEFORE)
    needs = KeyUse(full.database, DURING).needs(OLD_DIGEST_ID, now=full.clock())
    assert needs.digests["stable links"] == 1
    assert KeyUse(full.database, DURING).to_change()["stable links"] == 1
    rotate(full)

    assert address(full, AFTER) == sent
    assert full.row(StableLink).digest in digests_of(AFTER, sent.rpartition("/")[2])
    needs = KeyUse(full.database, DURING).needs(OLD_DIGEST_ID, now=full.clock())
    assert "stable links" not in needs.digests
    assert KeyUse(full.database, DURING).to_change()["stable links"] == 0


def test_a_stable_link_whose_digest_alone_is_old_is_found_by_the_new_one(full):
    hashed_anew = Keyring([OLD], [NEW_DIGEST, OLD_DIGEST])
    sent = address(full, BEFORE)
    rotate(full, hashed_anew)
    assert full.row(StableLink).digest in digests_of(Keyring([OLD], [NEW_DIGEST]), sent.rpartition("/")[2])


def test_a_second_rotation_finds_nothing_to_do(full):
    rotate(full)
    assert rotate(full) == (0, 0, 0)


@pytest.mark.both_databases
@pytest.mark.parametrize("look", [1, 2, 3, 100])
def test_small_chunks_change_every_row_once(full, look):
    total = sum(values_by(full, BEFORE)[BEFORE.ids[0]].values())
    assert rotate(full, look=look, most=2) == (total, 0, 0)


def test_a_rotation_that_was_cut_off_goes_on_with_what_is_left(full):
    rotation = KeyRotation(full.database, DURING, most=2)
    (customers,) = [column for column in ENCRYPTED if column.name == "customers"]
    rotation.chunk(customers, now=full.clock())
    assert values_by(full, DURING)[BEFORE.ids[0]]["customers"] == CUSTOMERS - 2
    rotate(full)
    assert values_by(full, DURING).keys() == {AFTER.ids[0]}


@pytest.mark.postgresql_alone
def test_a_row_that_another_transaction_holds_is_left_for_the_next_pass_and_waits_for_nothing(full):
    with full.database.write() as connection:
        held = sa.select(CustomerRow.customer_id).where(CustomerRow.customer_id == "C-3").with_for_update()
        connection.execute(held)
        assert rotate(full)[1:] == (1, 0)
    assert rotate(full) == (1, 0, 0)


def test_a_value_that_no_key_opens_stays_and_stops_no_other(full):
    full.set(CustomerRow, CustomerRow.customer_id == "C-3", encrypted=Keyring([new_key()]).encrypt({}, context="x"))
    assert rotate(full)[1:] == (0, 1)
    assert values_by(full, DURING)[AFTER.ids[0]]["customers"] == CUSTOMERS - 1


def test_what_was_erased_stays_erased_and_no_digest_of_it_needs_the_old_key(full):
    full.set(SessionRow, SessionRow.customer_id == "C-3", encrypted=ERASED)
    full.set(CustomerRow, CustomerRow.customer_id == "C-3", encrypted=None)
    rotate(full)
    (session,) = full.rows(SessionRow, customer_id="C-3")
    assert (session.encrypted, session.token_digest) == (ERASED, None)
    assert KeyUse(full.database, DURING).needs(BEFORE.digest_ids[0], now=full.clock()).digests == {
        "events": 1,
        "webhooks": 1,
    }


def test_what_needs_a_key_is_its_values_and_the_processes_that_have_it_first(full):
    use = KeyUse(full.database, DURING)
    now = full.clock()
    running = Running("up", "host", 7, "0.1.0", None, now, now, f"{BEFORE.ids[0]} {BEFORE.digest_ids[0]}")
    Processes(full.database).started("host:7", running)
    needs = use.needs(BEFORE.ids[0], now=now)
    assert needs.values["customers"] == CUSTOMERS
    assert list(needs.processes) == [running]
    rotate(full)
    Processes(full.database).ended("host:7")
    needs = use.needs(BEFORE.ids[0], now=now)
    assert (needs.values, needs.digests, list(needs.processes)) == ({}, {}, [])


@pytest.mark.both_databases
def test_a_derived_digest_key_is_needed_as_long_as_digests_need_it(database, clock):
    ring = Keyring([OLD])
    with database.write() as connection:
        suppress(connection, ring, *ADDRESS, SuppressionReason.STOP, "vita", now=clock())
    needs = KeyUse(database, Keyring([NEW, OLD])).needs(ring.ids[0], now=clock())
    assert needs.digests == {"suppressed addresses": 1}
