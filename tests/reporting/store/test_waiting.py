"""What `status` says of held rows, which may be many: it reads none of them. And of rows and messages that wait for an
account or channel which the configuration does not have."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.foundation.keyring import NEEDS_THE_KEY
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState
from onboarding_worker.reporting.store.waiting import (
    held,
    missing_keys,
    of_other_accounts,
    of_other_channels,
    unmoved_since,
)
from tests.stored.plans import plans_of, tidy
from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases


@pytest.fixture
def batches(shelf, clock) -> list[int]:
    """Three batches of 300 rows. Of the first all are held, of the second the last two; of the third none."""
    made = []
    for _ in range(3):
        batch = shelf.batch()
        shelf.add(*(customer(f"B{batch}-{number}") for number in range(300)), batch=batch)
        made.append(batch)
    shelf.set(Job, Job.batch_id == made[0], state=JobState.HELD, reason=Reason.UNKNOWN, changed_at=clock())
    for row, wait in ((300, 2), (301, 1)):
        at = clock() + timedelta(hours=wait)
        shelf.set(Job, Job.batch_id == made[1], Job.row == row, state=JobState.HELD, changed_at=at)
    return made


def test_each_batch_with_held_rows_says_how_many_and_since_when_the_first(shelf, clock, batches):
    found = [(batch.id, rows, since) for batch, rows, since in held(shelf.database)]
    assert found == [(batches[0], 300, clock()), (batches[1], 2, clock() + timedelta(hours=1))]


def test_a_key_that_held_rows_need_is_counted_with_the_first_of_them(shelf, clock, batches):
    needs = {"reason": Reason.CANNOT_DECRYPT, "detail": f"no key opens it: {NEEDS_THE_KEY}0123abcd, which is gone"}
    shelf.set(Job, Job.batch_id == batches[1], Job.row.in_([300, 301]), **needs)
    ((key_id, found),) = missing_keys(shelf.database, ["ffffffff"]).items()
    assert (key_id[:8], found) == ("0123abcd", (2, clock() + timedelta(hours=1)))


def test_one_look_at_an_index_finds_each(shelf, database, batches):
    tidy(database, "job")
    with plans_of(database, "FROM", "job") as plans:
        held(database)
        missing_keys(database, [])

    assert ["ix_job_held" in plans[0], "ix_job_undecrypted" in plans[1]] == [True, True], plans


def test_due_rows_are_unmoved_since_they_were_due_or_since_the_last_call(shelf, clock):
    shelf.add(customer("Ona"))
    imported_at = clock()
    clock.advance(minutes=9)
    assert unmoved_since(shelf.database, ["kyc", "email"], now=clock()) == imported_at
    assert unmoved_since(shelf.database, ["au"], now=clock()) is None
    shelf.issue()
    called_at = clock()
    shelf.add(customer("Rasa"))
    shelf.set(Job, Job.customer_id == "Rasa", due_at=imported_at)
    clock.advance(minutes=9)
    assert unmoved_since(shelf.database, ["kyc"], now=clock()) == called_at


def test_waiting_rows_and_messages_are_counted_by_what_they_wait_for_and_by_batch(shelf):
    first = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    shelf.add(customer("Rasa"))
    assert of_other_accounts(shelf.database, ["au"]) == {"kyc": {first + 1: 1}}
    assert of_other_accounts(shelf.database, ["kyc"]) == {}
    assert of_other_channels(shelf.database, ["sms"]) == {"email": {first: 2, first + 1: 1}}
    assert of_other_channels(shelf.database, ["email"]) == {}


def test_a_row_waits_for_both_of_its_channels(shelf):
    batch = shelf.add(customer("Ona", channel=Channel.BOTH))
    assert of_other_channels(shelf.database, ["email"]) == {"sms": {batch: 1}}
    assert of_other_channels(shelf.database, ["whatsapp"]) == {"email": {batch: 1}, "sms": {batch: 1}}


def test_what_has_left_waits_for_nothing(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.hand_over(shelf.claim_messages())
    assert of_other_channels(shelf.database, ["sms"]) == {}
