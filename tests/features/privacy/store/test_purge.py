"""A batch that is over is removed chunk by chunk; the facts that other rows need stay."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import (
    Attempt,
    Batch,
    CustomerRow,
    Finished,
    InvitationRow,
    Job,
    SessionRow,
    SkippedLine,
)
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Done, Kind, Retry
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.core.rules.reconciliation import Nothing
from onboarding_worker.features.privacy.store.removals import CHUNK, Purging
from onboarding_worker.lists.decisions.row_addresses import read_rows
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.lines import RefusedLine
from onboarding_worker.lists.store.added_lines import all_added
from onboarding_worker.lists.store.admission import admit
from tests.stored.reconciling import drop, look_up, reconcilable
from tests.stored.shelf import POLICY, customer
from trials.kept_counts import untrue_counts

OF_A_BATCH = (Job, Attempt, SessionRow, InvitationRow, SkippedLine)


@pytest.fixture
def purging(shelf):
    return Purging(shelf.database)


@pytest.fixture
def purge(shelf, purging):
    """Purge a batch that is over, as the timer does; returns how many rows went."""

    def run(batch):
        assert why_not(shelf, batch) is None
        assert purging.begin(batch, shelf.facts.counts(batch), now=shelf.clock())
        removed = 0
        while chunk := purging.chunk(batch, now=shelf.clock()):
            removed += chunk
        return removed

    return run


def why_not(shelf, batch, kept_for=timedelta()):
    return Purging(shelf.database).why_not(batch, since=shelf.clock() - kept_for, now=shelf.clock())


def listed(shelf, *customers, refused=()):
    """A batch, its import complete."""
    batch = shelf.add(*customers, refused=refused)
    all_added(shelf.batches, batch, now=shelf.clock())
    return batch


def sent(shelf, *customers, **session):
    """A batch of customers who were sent their links."""
    batch = listed(shelf, *customers)
    shelf.issue(**session)
    shelf.send()
    return batch


def end(shelf, batch, state=JobState.COMPLETED, **values):
    shelf.set(Job, Job.batch_id == batch, state=state, changed_at=shelf.clock(), due_at=None, **values)
    jobs = sa.select(Job.id).where(Job.batch_id == batch)
    shelf.set(SessionRow, SessionRow.job_id.in_(jobs), state=SessionState.COMPLETED)


@pytest.fixture
def failed(shelf, purging):
    """Makes a batch whose customers have failed, and begins its purge."""

    def begin(*customers):
        batch = listed(shelf, *customers)
        end(shelf, batch, JobState.FAILED)
        purging.begin(batch, shelf.facts.counts(batch), now=shelf.clock())
        return batch

    return begin


@pytest.fixture
def done(shelf):
    """A batch whose two customers have finished, with a rejected row."""
    batch = listed(shelf, customer("Ona"), customer("Jonas"), refused=[RefusedLine(9, "Petras", duplicate_of=2)])
    shelf.issue()
    shelf.send()
    end(shelf, batch, result="approved")
    return batch


def test_all_rows_of_a_batch_go_and_its_totals_stay(shelf, purge, done):
    before = shelf.facts.counts(done)
    assert purge(done) == 3
    assert [shelf.rows(model) for model in OF_A_BATCH] == [[], [], [], [], []]
    assert shelf.facts.counts(done) == before
    assert before.jobs == {JobState.COMPLETED: 2}
    assert before.accounts["kyc"].issued == 2
    assert shelf.batches.find(str(done)).purged_at == shelf.clock()


def test_rows_of_another_batch_stay(shelf, purge, done):
    other = sent(shelf, customer("Rasa"))
    purge(done)
    assert [len(shelf.rows(model)) for model in OF_A_BATCH] == [1, 2, 1, 1, 0]
    assert shelf.facts.counts(other).jobs == {JobState.INVITED: 1}


def test_a_batch_larger_than_a_chunk_goes_in_several(shelf, purge, purging):
    batch = listed(shelf, *[customer(f"C{number}") for number in range(CHUNK + 1)])
    end(shelf, batch)
    assert purging.under_way() == []
    purging.begin(batch, shelf.facts.counts(batch), now=shelf.clock())
    assert purging.chunk(batch, now=shelf.clock()) == CHUNK
    assert purging.under_way() == [batch]  # as a process that was killed here leaves it
    assert purging.chunk(batch, now=shelf.clock()) == 1
    assert purging.chunk(batch, now=shelf.clock()) == 0
    assert purging.under_way() == []
    assert len(shelf.rows(Finished)) == CHUNK + 1


@pytest.mark.postgresql_alone  # SQLite has one writer at a time
def test_a_job_that_another_transaction_works_on_stays_with_all_that_belongs_to_it(shelf, purging, done):
    purging.begin(done, shelf.facts.counts(done), now=shelf.clock())
    first = min(job.id for job in shelf.rows(Job))
    with shelf.database.write() as connection:  # as results are written, and messages and attempts added
        connection.execute(sa.select(Job.id).where(Job.id == first).with_for_update(key_share=True))
        assert purging.chunk(done, now=shelf.clock()) == 1
    assert {row.job_id for model in (Attempt, SessionRow, InvitationRow) for row in shelf.rows(model)} == {first}


@pytest.mark.both_databases
def test_two_sweeps_at_once_purge_each_row_once(shelf, purging, in_parallel):
    batch = listed(shelf, *[customer(f"C{number}") for number in range(40)])
    end(shelf, batch)
    begun = in_parallel(lambda: purging.begin(batch, shelf.facts.counts(batch), now=shelf.clock()), times=2)
    assert sorted(begun) == [False, True]
    in_parallel(lambda: purging.chunk(batch, now=shelf.clock()), times=2)
    assert shelf.rows(Job) == []


# What has to stay.


def test_one_who_has_finished_is_skipped_in_a_later_list_all_the_same(shelf, purge, done):
    purge(done)
    shelf.clock.advance(days=400)
    listed(shelf, customer("Ona"), customer("Ona", purpose="renewal"))
    skipped, new = shelf.rows(Job, customer_id="Ona")
    assert (skipped.state, skipped.result, skipped.reason) == (JobState.COMPLETED, "approved", "already_finished")
    assert skipped.detail == f"the customer finished in batch {done}, row 2, which was purged"
    assert new.state is JobState.WAITING
    assert [job.customer.purpose for job in shelf.claim()] == ["renewal"]


def test_one_who_has_not_finished_is_asked_again_in_a_later_list(shelf, purge):
    batch = sent(shelf, customer("Ona"))
    shelf.clock.advance(days=8)
    purge(batch)
    listed(shelf, customer("Ona"))
    assert len(shelf.issue()) == 1
    assert shelf.rows(Finished) == []


def test_what_a_person_finished_who_had_the_id_before_is_kept_for_nobody(shelf, purge, done):
    with shelf.database.write() as connection:
        admit(connection, ["Ona"], now=shelf.clock())
    purge(done)
    assert shelf.rows(Finished, customer_id="Ona") == []


def test_a_batch_purged_twice_keeps_the_first_word_on_who_has_finished(shelf, purge, done):
    purge(done)
    second = listed(shelf, customer("Ona"))
    purge(second)
    assert shelf.row(Finished, customer_id="Ona").batch_id == done


@pytest.mark.both_databases
def test_a_row_that_joined_one_of_a_purged_batch_keeps_its_state_session_and_message(shelf, purge):
    first = listed(shelf, customer("Ona", brand="nova"))
    second, third = listed(shelf, customer("Ona")), listed(shelf, customer("Ona"))
    shelf.set(Job, Job.batch_id == first, route="route 2: tags=nova")
    shelf.issue(reference="scan-7")
    shelf.send()
    before = [next(iter(shelf.facts.lines(batch, with_links=True))) for batch in (second, third)]
    shelf.clock.advance(days=8)
    purge(first)
    after = [next(iter(shelf.facts.lines(batch, with_links=True))) for batch in (second, third)]
    left = [(line.reference, line.invitation, line.opening.link, line.expires_at) for line in after]
    assert left == [(line.reference, line.invitation, line.opening.link, line.expires_at) for line in before]
    assert [line.state for line in (*before, *after)] == ["joined", "joined", "invited", "joined"]
    successor, other = shelf.rows(Job)
    assert (successor.leader_id, other.leader_id) == (None, successor.id)
    assert (successor.brand, successor.route, other.brand) == ("nova", "route 2: tags=nova", "")
    assert other.detail == f"joined batch {second}, row 2"
    for batch in (third, second):
        purge(batch)
    assert [shelf.rows(model) for model in OF_A_BATCH] == [[], [], [], [], []]


def test_a_session_that_a_later_list_was_given_stays_with_it(shelf, purge):
    first = sent(shelf, customer("Ona"), reference="scan-7", lifetime=timedelta(days=40))
    shelf.set(Job, state=JobState.FAILED)
    second = listed(shelf, customer("Ona"))
    shelf.claim()  # which is moved on to the session that lives
    assert shelf.job("Ona", batch_id=second).session_id is not None
    assert why_not(shelf, first) == "row 2 has a session that still opens"
    shelf.clock.advance(days=41)
    purge(first)
    (line,) = shelf.facts.lines(second)
    assert (line.state, line.reference, line.invitation) == ("invited", "scan-7", "sent")


# What keeps a batch.


def test_a_batch_stays_until_it_has_been_over_for_long_enough(shelf, done):
    month = timedelta(days=30)
    assert why_not(shelf, done, month) == "it is not old enough"
    shelf.clock.advance(days=31)
    assert why_not(shelf, done, month) is None
    shelf.set(Job, Job.customer_id == "Jonas", changed_at=shelf.clock())
    assert why_not(shelf, done, month) == "row 3 is not over"


@pytest.mark.parametrize("state", [JobState.WAITING, JobState.WORKING, JobState.HELD, JobState.ISSUED])
def test_a_batch_with_a_row_that_is_not_over_stays(shelf, done, state):
    shelf.set(Job, Job.customer_id == "Jonas", state=state)
    assert why_not(shelf, done) == "row 3 is not over"


def test_a_batch_with_a_row_that_joined_one_that_is_not_over_stays(shelf):
    listed(shelf, customer("Ona"))
    second = listed(shelf, customer("Ona"))
    assert why_not(shelf, second) == "row 2 is not over"


def test_a_batch_whose_import_was_cut_off_stays(shelf):
    assert why_not(shelf, shelf.add(customer("Ona"))) == "its import was cut off"


@pytest.mark.parametrize("kind", [Kind.UNKNOWN, None])
def test_a_call_with_an_unknown_outcome_keeps_its_batch_while_its_session_may_be_live(shelf, kind):
    batch = listed(shelf, customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    if kind is not None:
        shelf.finish(shelf.failed(opened, kind, Retry(shelf.clock(), "unknown", "")))
    shelf.set(Job, state=JobState.CANCELLED, lease_until=None)
    assert why_not(shelf, batch) == "row 2 has a call of the last 30 days whose outcome is unknown"
    shelf.clock.advance(days=31)
    assert why_not(shelf, batch) is None


def test_a_message_that_is_being_sent_keeps_its_batch_and_is_counted(shelf, purge):
    batch = listed(shelf, customer("Ona"))
    shelf.issue()
    opened = shelf.open_messages(shelf.claim_messages())
    end(shelf, batch, result="approved")
    assert why_not(shelf, batch) == "row 2 has a message that is being sent"
    shelf.finish_messages(*(CallResult(item, shelf.clock(), Done()) for item in opened))
    purge(batch)
    assert shelf.facts.counts(batch).invitations == {InvitationState.SENT: 1}


def test_a_message_that_began_to_leave_after_the_purge_had_begun_keeps_its_row(shelf, purging):
    batch = listed(shelf, customer("Ona"))
    shelf.issue()
    shelf.open_messages(shelf.claim_messages())
    end(shelf, batch)
    purging.begin(batch, shelf.facts.counts(batch), now=shelf.clock())
    assert purging.chunk(batch, now=shelf.clock()) == 0


@pytest.mark.both_databases
def test_the_answer_to_a_message_of_a_purged_row_takes_no_other_answer_with_it(shelf, purge):
    batch = listed(shelf, customer("Ona"))
    other = listed(shelf, customer("Jonas"))
    shelf.issue()
    opened = shelf.open_messages(shelf.claim_messages())
    shelf.clock.advance(seconds=61)
    shelf.expired_leases.end(POLICY, now=shelf.clock())
    end(shelf, batch, result="approved")
    purge(batch)
    shelf.finish_messages(*(CallResult(item, shelf.clock(), Done()) for item in opened))
    assert [row.state for row in shelf.rows(InvitationRow, batch_id=other)] == [InvitationState.SENT]


def test_the_answer_to_a_look_up_of_a_purged_row_takes_no_other_answer_with_it(shelf, purge):
    policy = reconcilable(shelf.policy)
    batch = drop(shelf, policy)
    all_added(shelf.batches, batch, now=shelf.clock())
    shelf.clock.advance(seconds=76)
    late = look_up(shelf, policy)
    shelf.clock.advance(days=31)
    shelf.expired_leases.end(POLICY, now=shelf.clock())
    end(shelf, batch, JobState.FAILED)
    purge(batch)
    listed(shelf, customer("Jonas"))
    (call,) = shelf.open(shelf.claim())
    ending = Retry(shelf.clock(), "unknown", "")
    shelf.finish(CallResult(late, shelf.clock(), ending, found=Nothing()), shelf.got(call))
    assert shelf.job("Jonas").state is JobState.ISSUED


def test_a_row_that_was_put_back_after_the_purge_began_is_worked_before_it_goes(shelf, purging, failed):
    batch = failed(customer("Ona"), customer("Jonas"))
    Decisions(shelf.database).retry(Which(batch, rows=read_rows("2")), now=shelf.clock())
    assert purging.chunk(batch, now=shelf.clock()) == 1
    assert purging.chunk(batch, now=shelf.clock()) == 0
    (job,) = shelf.claim()
    shelf.finish(shelf.got(*shelf.open([job])))
    assert shelf.job("Ona").state is JobState.ISSUED


@pytest.mark.both_databases
def test_a_row_that_was_put_back_goes_once_it_is_over_again(shelf, purging, failed):
    batch = failed(customer("Ona"))
    shelf.clock.advance(minutes=1)
    Decisions(shelf.database).retry(Which(batch), now=shelf.clock())
    assert purging.chunk(batch, now=shelf.clock()) == 0
    end(shelf, batch, JobState.FAILED)
    assert purging.chunk(batch, now=shelf.clock()) == 1


def test_rows_that_were_put_back_do_not_keep_those_behind_them(shelf, purging, failed):
    batch = failed(*[customer(f"C{number}") for number in range(CHUNK + 1)])
    shelf.set(Job, Job.row < CHUNK + 2, state=JobState.WAITING, due_at=shelf.clock())
    assert purging.chunk(batch, now=shelf.clock()) == 1


def test_a_call_with_an_unknown_outcome_made_after_the_purge_began_keeps_its_row(shelf, purging, failed):
    batch = failed(customer("Ona"))
    Decisions(shelf.database).retry(Which(batch), now=shelf.clock())
    shelf.open(shelf.claim())
    end(shelf, batch, JobState.CANCELLED)
    assert purging.chunk(batch, now=shelf.clock()) == 0
    shelf.clock.advance(days=31)
    assert purging.chunk(batch, now=shelf.clock()) == 1


def test_a_purge_cannot_be_begun_twice_nor_a_chunk_removed_before(shelf, purging, done):
    with pytest.raises(ValueError, match="has not begun"):
        purging.chunk(done, now=shelf.clock())
    counts = shelf.facts.counts(done)
    assert purging.begin(done, counts, now=shelf.clock())
    assert not purging.begin(done, counts, now=shelf.clock())
    assert why_not(shelf, done) == "it was purged"


@pytest.mark.both_databases
def test_only_batches_that_are_old_enough_and_not_purged_are_candidates(shelf, purging, purge, done):
    later = listed(shelf, customer("Rasa"))
    shelf.add(customer("Lina"))
    now = shelf.clock()
    assert purging.candidate(after=0, since=now) == done
    assert purging.candidate(after=done, since=now) == later
    assert purging.candidate(after=later, since=now) is None
    assert purging.candidate(after=0, since=now - timedelta(days=1)) is None
    purge(done)
    assert purging.candidate(after=0, since=now) == later


def test_a_session_that_another_list_uses_stays_with_its_message_and_the_messages_attempts(shelf, purge):
    first = sent(shelf, customer("Ona"))
    shelf.set(Job, state=JobState.CANCELLED, due_at=None)
    second = listed(shelf, customer("Ona"))
    assert shelf.claim() == []  # it reuses the session
    end(shelf, first, state=JobState.CANCELLED)
    before = shelf.facts.counts(second).invitations
    purge(first)
    successor = shelf.job("Ona", batch_id=second)
    assert shelf.row(SessionRow).job_id == successor.id
    message = shelf.row(InvitationRow)
    hand_over = shelf.row(Attempt)
    assert (message.job_id, hand_over.job_id, hand_over.invitation_id) == (successor.id, successor.id, message.id)
    # It is counted once, in the totals of the list that has sent it.
    assert shelf.facts.counts(second).invitations == before == {}
    assert message.batch_id == first
    end(shelf, second)
    purge(second)
    assert [shelf.rows(model) for model in OF_A_BATCH] == [[], [], [], [], []]


def test_a_message_of_another_list_that_goes_with_a_replaced_session_is_counted_no_more(shelf, purge):
    first = listed(shelf, customer("Ona", channel=Channel.NONE))
    shelf.issue()
    shelf.set(Job, state=JobState.CANCELLED, due_at=None)
    second = listed(shelf, customer("Ona"))
    assert shelf.claim() == []  # it reuses the session, and writes its message
    # The session ends before the message leaves, and another one replaces it.
    shelf.set(InvitationRow, state=InvitationState.SUPERSEDED, due_at=None)
    shelf.set(Job, Job.batch_id == second, session_id=None, state=JobState.WAITING, due_at=shelf.clock())
    assert shelf.facts.counts(second).invitations == {InvitationState.SUPERSEDED: 1}
    end(shelf, first, state=JobState.CANCELLED)
    purge(first)
    assert shelf.rows(InvitationRow) == []
    assert shelf.facts.counts(second).invitations == {}
    with shelf.database.read() as connection:
        assert list(untrue_counts(connection)) == []


def test_the_customers_of_a_purged_batch_stay_until_their_own_time(shelf, purge, done):
    purge(done)
    assert {row.customer_id for row in shelf.rows(CustomerRow)} == {"Ona", "Jonas"}
    assert shelf.row(Batch).name == "list.csv"
    assert shelf.claim() == []
