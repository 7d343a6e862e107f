"""Imports in parallel with another import, a cancel, a retry or a sender: the second sees the changes of the first."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.job_ids import job_id
from onboarding_worker.core.database.tables import Batch, CustomerRow, InvitationRow, Job, SkippedLine
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Cancel, Done, Hold
from onboarding_worker.core.model.incoming import OPERATOR, EventKind
from onboarding_worker.core.model.states import EVENT, InvitationState, JobState
from onboarding_worker.core.rows.cancellation import cancel_jobs
from onboarding_worker.core.rows.message_rows import set_job_states
from onboarding_worker.events.standing import Arrival
from onboarding_worker.events.store.inbox import Inboxes
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.lines import RefusedLine
from tests.stored.row_locks import waiting
from tests.stored.shelf import customer, line

pytestmark = pytest.mark.both_databases

HELD, FAILED = Hold("unknown", "no answer"), Cancel("bad_input", "refused")


def joined(shelf, batch):
    """Whether the batch's only row has joined another row, and its state."""
    row = shelf.row(Job, batch_id=batch)
    return row.leader_id is not None, row.state


# A session is reused while its message is being sent.


@pytest.mark.postgresql_alone
@pytest.mark.parametrize(
    ("becomes", "leads_to"), [(InvitationState.SENT, JobState.INVITED), (InvitationState.HELD, JobState.HELD)]
)
def test_a_job_that_adopts_a_session_sees_the_result_of_the_message_in_flight(shelf, database, becomes, leads_to):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.claim_messages()
    shelf.set(Job, state=JobState.CANCELLED)
    batch = shelf.add(customer("Ona"))
    with waiting(database, shelf.claim) as sender:
        sender.execute(sa.update(InvitationRow).values(state=becomes))
    assert shelf.job("Ona", batch_id=batch).state is leads_to
    assert shelf.claim_messages() == []


# Two processes write the results of a customer's two messages at the same time.


@pytest.mark.postgresql_alone
@pytest.mark.parametrize(
    ("email", "sms", "leads_to"),
    [
        (InvitationState.SENT, Done(), JobState.INVITED),
        (InvitationState.SENT, HELD, JobState.HELD),
        (InvitationState.HELD, Done(), JobState.HELD),
        (InvitationState.HELD, HELD, JobState.HELD),
        (InvitationState.FAILED, FAILED, JobState.FAILED),
    ],
)
def test_the_transaction_that_writes_a_jobs_second_message_sees_the_result_of_the_first(
    shelf, database, email, sms, leads_to
):
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    (message,) = shelf.claim_messages()
    texts = shelf.claim_messages(channel="sms")
    with waiting(database, lambda: shelf.hand_over(texts, sms, channel="sms")) as sender:
        sender.execute(sa.update(InvitationRow).where(InvitationRow.id == message.id).values(state=email))
        set_job_states(sender, [message.job_id], now=shelf.clock())
    assert shelf.job("Ona").state is leads_to


def test_a_hand_over_and_an_adoption_at_once_make_the_job_invited(shelf):
    """Either of them may be first."""
    for round_ in range(8):
        name = f"Ona{round_}"
        shelf.add(customer(name))
        shelf.issue()
        messages = shelf.claim_messages()
        shelf.set(Job, Job.customer_id == name, state=JobState.CANCELLED)
        batch = shelf.add(customer(name))
        both = Barrier(2)

        def send(messages=messages, both=both):
            both.wait()
            shelf.hand_over(messages)

        def reuse(both=both):
            both.wait()
            shelf.claim()

        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(send), threads.submit(reuse)]:
                done.result()
        assert shelf.job(name, batch_id=batch).state is JobState.INVITED


# A row is imported while the job that it would join ends.


@pytest.mark.postgresql_alone
def test_a_row_does_not_join_a_job_that_is_being_cancelled(shelf, database):
    first = shelf.add(customer("Ona"))
    leader = shelf.job("Ona").id
    second = shelf.batch("second.csv")
    with waiting(database, lambda: shelf.add(customer("Ona"), batch=second)) as canceller:
        cancel_jobs(canceller, [leader], now=shelf.clock())
    assert joined(shelf, first) == (False, JobState.CANCELLED)
    assert joined(shelf, second) == (False, JobState.WAITING)
    assert [job.batch_id for job in shelf.claim()] == [second]


@pytest.mark.postgresql_alone
def test_a_row_joins_the_successor_of_a_job_that_is_being_cancelled(shelf, database):
    shelf.add(customer("Ona"))
    leader = shelf.job("Ona").id
    successor = shelf.add(customer("Ona"))
    third = shelf.batch("third.csv")
    with waiting(database, lambda: shelf.add(customer("Ona"), batch=third)) as canceller:
        cancel_jobs(canceller, [leader], now=shelf.clock())
    assert shelf.job("Ona", batch_id=third).leader_id == shelf.job("Ona", batch_id=successor).id
    assert [job.batch_id for job in shelf.claim()] == [successor]


@pytest.mark.postgresql_alone
def test_an_event_joins_the_successor_of_a_job_that_is_being_cancelled(shelf, database, keyring):
    """At once: in a caller's transaction there is no second try."""
    shelf.add(customer("Ona"))
    leader = shelf.job("Ona").id
    successor = shelf.add(customer("Ona"))
    digests, accepted = keyring.digests("event", "1"), line(0, customer("Ona"))
    asked = EventKind.REQUESTED, "Ona", "onboarding", shelf.clock()
    event = Arrival(OPERATOR, "/crm", "1", *asked, digests, line=accepted)

    def take():
        with database.write() as connection:
            Inboxes(database, keyring).take([event], now=shelf.clock(), within=connection)

    with waiting(database, take) as canceller:
        cancel_jobs(canceller, [leader], now=shelf.clock())
    assert shelf.job("Ona", priority=EVENT).leader_id == shelf.job("Ona", batch_id=successor).id


@pytest.mark.postgresql_alone
@pytest.mark.parametrize(
    ("ends", "leads_to"), [(JobState.FAILED, JobState.WAITING), (JobState.COMPLETED, JobState.COMPLETED)]
)
def test_a_row_does_not_join_a_job_that_is_ending(shelf, database, ends, leads_to):
    shelf.add(customer("Ona"))
    second = shelf.batch("second.csv")
    with waiting(database, lambda: shelf.add(customer("Ona"), batch=second)) as worker:
        worker.execute(sa.update(Job).values(state=ends))
    assert joined(shelf, second) == (False, leads_to)


@pytest.mark.postgresql_alone
def test_a_retried_row_does_not_join_a_job_that_is_being_cancelled(shelf, database):
    first = shelf.add(customer("Ona"))
    shelf.set(Job, state=JobState.FAILED)
    shelf.add(customer("Ona"))
    leader = shelf.row(Job, state=JobState.WAITING).id
    decide = Decisions(database)
    with waiting(database, lambda: decide.retry(Which(first), now=shelf.clock())) as canceller:
        cancel_jobs(canceller, [leader], now=shelf.clock())
    assert joined(shelf, first) == (False, JobState.WAITING)


@pytest.mark.postgresql_alone
def test_a_retry_waits_for_an_import_of_the_same_customers(shelf, database):
    """Both lock the customers in one order. Otherwise each could wait for a leader that the other is about to make."""
    first = shelf.add(customer("Ona"))
    shelf.set(Job, state=JobState.FAILED)
    decide = Decisions(database)
    with waiting(database, lambda: decide.retry(Which(first), now=shelf.clock())) as importer:
        importer.execute(sa.update(CustomerRow).values(locale="en"))
    assert joined(shelf, first) == (False, JobState.WAITING)


@pytest.mark.postgresql_alone
def test_a_row_that_joined_before_the_cancel_reached_the_job_is_promoted_by_the_cancel(shelf, database):
    shelf.add(customer("Ona"))
    leader = shelf.job("Ona").id
    second = shelf.batch("second.csv")

    def cancel():
        with database.write() as connection:
            cancel_jobs(connection, [leader], now=shelf.clock())

    with waiting(database, cancel) as importer:
        row = dict(shelf.row(Job)._mapping) | {"id": job_id(second, 1), "batch_id": second, "leader_id": leader}
        importer.execute(sa.select(Job.id).with_for_update(read=True))
        importer.execute(sa.insert(Job), [row])
    assert joined(shelf, second) == (False, JobState.WAITING)


def test_a_list_that_is_imported_while_another_is_cancelled_is_served(shelf, database):
    """Either of them may be first, on SQLite too."""
    decide = Decisions(database)
    for round_ in range(5):
        customers = [customer(f"C{round_}-{number}") for number in range(5)]
        first, second = shelf.add(*customers), shelf.batch(f"second-{round_}.csv")
        both = Barrier(2)

        def cancel(first=first, both=both):
            both.wait()
            decide.cancel(first, now=shelf.clock())

        def import_second(customers=customers, second=second, both=both):
            both.wait()
            shelf.add(*customers, batch=second)

        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(cancel), threads.submit(import_second)]:
                done.result()
        assert [job.batch_id for job in shelf.claim()] == [second] * 5


# The same list is imported twice at once.


def test_lines_that_are_imported_already_are_skipped(shelf):
    batch = shelf.batch()
    shelf.add(customer("Ona"), batch=batch, refused=[RefusedLine(3, "x")])
    before = shelf.rows(Job), shelf.rows(SkippedLine), shelf.rows(CustomerRow)
    shelf.clock.advance(seconds=1)
    shelf.add(customer("Ona"), batch=batch, refused=[RefusedLine(3, "x")])
    assert (shelf.rows(Job), shelf.rows(SkippedLine), shelf.rows(CustomerRow)) == before
    shelf.add(customer("Ona"), batch=batch, refused=[RefusedLine(3, "x"), RefusedLine(4, "y")])
    assert [row.row for row in shelf.rows(SkippedLine)] == [3, 4]


@pytest.mark.postgresql_alone
def test_a_chunk_waits_for_another_imports_chunk_of_the_same_list(shelf, database):
    batch = shelf.batch()
    with waiting(database, lambda: shelf.add(customer("Ona"), batch=batch)) as importer:
        importer.execute(sa.select(Batch.id).with_for_update(read=True))
    assert len(shelf.rows(Job)) == 1


def test_two_imports_of_one_list_at_once_import_each_row_once(shelf):
    batch = shelf.batch()
    both = Barrier(2)

    def import_list(_):
        both.wait()
        for chunk in range(10):
            row = 2 + 3 * chunk
            refused = [RefusedLine(row + 2, "x")]
            customers = (customer(f"C{row}"), customer(f"C{row + 1}"))
            shelf.add(*customers, batch=batch, first_row=row, refused=refused)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(import_list, range(2)))
    rows = [row.row for row in shelf.rows(Job)] + [row.row for row in shelf.rows(SkippedLine)]
    assert sorted(rows) == list(range(2, 32))
    assert shelf.rows(Job, state=JobState.WAITING, leader_id=None) == shelf.rows(Job)
