"""Rules of rows: who leads, who follows, and what each waits for."""

from collections import Counter
from collections.abc import Iterator

from trials.lists.rules.seen import Seen, is_at_odds, of_job, of_message
from trials.lists.world import key_of
from worker.domain.model.reasons import Reason
from worker.domain.model.states import OPEN_JOBS, JobState
from worker.store.base.job_ids import batch_of

# The worker's own faults.
AT_FAULT = (Reason.CANNOT_DECRYPT, Reason.CANNOT_KEEP, Reason.CANNOT_WORK)


def counts_are_true(moment: Seen) -> Iterator[str]:
    """The kept counts of each list say what its rows say."""
    yield from moment.untrue_counts


def one_row_leads(moment: Seen) -> Iterator[str]:
    """One open row of each customer and purpose works for all of them."""
    leads = Counter(key_of(job) for job in moment.jobs.values() if job.joins is None and job.state in OPEN_JOBS)
    for (customer, _), number in leads.items():
        if number > 1:
            yield f"{customer}: {number} rows lead"


def followers_wait_for_a_row_that_goes_on(moment: Seen) -> Iterator[str]:
    """Whoever joins waits, without a time or a lease, for a row of the same customer that leads, and says which."""
    for job in moment.jobs.values():
        if job.joins is None:
            continue
        leader = moment.jobs.get(job.joins)
        if leader is None:
            yield f"{of_job(job)}: the row that leads is gone"
            continue
        if leader.joins is not None or leader.state is JobState.CANCELLED or key_of(leader) != key_of(job):
            yield f"{of_job(job)} follows {of_job(leader)}"
        if job.state is not JobState.WAITING or job.lease_until is not None or job.due_at is not None:
            yield f"{of_job(job)} does not only wait: due {job.due_at}, lease until {job.lease_until}"
        if f"batch {leader.batch_id}, row {leader.row}" not in job.detail:
            yield f"{of_job(job)} says {job.detail!r}, and follows row {leader.row} of list {leader.batch_id}"


def ids_name_their_list(moment: Seen) -> Iterator[str]:
    for job in moment.jobs.values():
        if batch_of(job.id) != job.batch_id:
            yield f"{of_job(job)}: its id names list {batch_of(job.id)}"


def no_row_is_set_aside(moment: Seen) -> Iterator[str]:
    """Every row, message and answer can be read and worked: a claim sets aside what raises."""
    for job in moment.jobs.values():
        if job.reason in AT_FAULT:
            yield of_job(job)
    for message in moment.messages.values():
        if message.reason in AT_FAULT:
            yield of_message(message)


def each_waits_for_a_time_or_a_worker(moment: Seen) -> Iterator[str]:
    """A row that leads has a time while it waits and a lease while it is worked, and no other row has one."""
    for job in moment.jobs.values():
        waits, works = job.state is JobState.WAITING, job.state is JobState.WORKING
        if waits and job.joins is None and job.due_at is None:
            yield f"{of_job(job)} waits without a time"
        if job.due_at is not None and not waits and not works:
            yield f"{of_job(job)} is due at {job.due_at}"
        if works and job.lease_until is None:
            yield f"{of_job(job)} is worked without a lease"
        if job.lease_until is not None and job.lease_owner and job.state in OPEN_JOBS and not works:
            yield f"{of_job(job)} has a lease, and is not worked"


def cancelled_lists_have_no_open_rows(moment: Seen) -> Iterator[str]:
    """After a cancel each row has ended, or is marked and ends with its call."""
    for job in moment.jobs.values():
        batch = moment.batches[job.batch_id]
        goes_on = job.state in OPEN_JOBS and job.state is not JobState.WORKING and job.cancelled_at is None
        if batch.cancelled_at is not None and batch.changing_since is None and goes_on:
            yield f"{of_job(job)} goes on, and its list is cancelled"


def a_pause_reaches_each_row(moment: Seen) -> Iterator[str]:
    """A pause moves what may go on; a resume moves all back, whatever became of it."""
    for job in moment.jobs.values():
        batch, may_go_on = moment.batches[job.batch_id], job.state in (*OPEN_JOBS, JobState.FAILED)
        if (may_go_on or not batch.pause_cause) and is_at_odds(job, batch):
            yield f"{of_job(job)} has priority {job.priority}; paused: {batch.pause_cause or 'no'}"


def calls_are_under_way_under_a_lease(moment: Seen) -> Iterator[str]:
    """An open attempt is of a row of its own list that has a lease. What a purged list has counted stays in it."""
    for attempt in moment.attempts:
        job = moment.jobs.get(attempt.job_id)
        if job is None:
            yield f"an attempt of row {attempt.job_id}, which is gone"
        elif attempt.batch_id != job.batch_id and moment.batches[attempt.batch_id].purged_at is None:
            yield f"{of_job(job)} has an attempt of list {attempt.batch_id}"
        elif attempt.invitation_id is None and attempt.closed_at is None and job.lease_until is None:
            yield f"{of_job(job)} has an open attempt and no lease"
