"""Rules of messages: each belongs to a row that it serves, and what it waits for comes."""

from collections.abc import Iterator

from trials.lists.rules.seen import Seen, is_at_odds, of_job, of_message
from worker.domain.model.customers import Channel
from worker.domain.model.states import ENDED_JOBS, OPEN_INVITATIONS, InvitationState, JobState
from worker.domain.verification.session_updates import Result


def each_belongs_to_its_row(moment: Seen) -> Iterator[str]:
    """Its row, its session and its list are those of one customer. What a purged list has counted stays in it."""
    for message in moment.messages.values():
        job, session = moment.jobs.get(message.job_id), moment.sessions.get(message.session_id)
        if job is None or session is None:
            yield f"{of_message(message)}: its {'row' if job is None else 'session'} is gone"
            continue
        if session.customer_id != job.customer_id:
            yield f"{of_message(message)} to {job.customer_id} has a session of {session.customer_id}"
        if message.batch_id != job.batch_id and moment.batches[message.batch_id].purged_at is None:
            yield f"{of_message(message)} is in list {message.batch_id}, its row in {job.batch_id}"


def each_waits_for_a_time_or_a_worker(moment: Seen) -> Iterator[str]:
    for message in moment.messages.values():
        works = message.state is InvitationState.WORKING
        if message.state is InvitationState.WAITING and message.due_at is None:
            yield f"{of_message(message)} waits without a time"
        if works and message.lease_until is None:
            yield f"{of_message(message)} is sent without a lease"
        if message.lease_until is not None and not works:
            yield f"{of_message(message)} has a lease, and is not being sent"


def a_pause_reaches_each_message(moment: Seen) -> Iterator[str]:
    """As of rows. Of a row that has ended no message leaves, whatever its priority: a claim puts it away."""
    for message in moment.messages.values():
        job, batch = moment.jobs.get(message.job_id), moment.batches[message.batch_id]
        may_leave = message.state in (*OPEN_INVITATIONS, InvitationState.FAILED)
        may_leave = may_leave and job is not None and job.state not in ENDED_JOBS
        if (may_leave or not batch.pause_cause) and is_at_odds(message, batch):
            yield f"{of_message(message)} has priority {message.priority}; paused: {batch.pause_cause or 'no'}"


def who_has_a_session_gets_a_message(moment: Seen) -> Iterator[str]:
    """A row with a session that nobody was told of has a message that waits, or the customer has submitted."""
    for job in moment.jobs.values():
        session = moment.sessions.get(job.session_id)
        if job.state is not JobState.ISSUED or job.joins is not None or job.channel is Channel.NONE or session is None:
            continue
        if session.result != Result.REVIEW and not moment.has_message_under_way(job):
            yield f"{of_job(job)}: no message waits"


def hand_overs_are_under_way_under_a_lease(moment: Seen) -> Iterator[str]:
    """An open attempt to send is of a message that is being sent, and of the same row."""
    for attempt in moment.attempts:
        if attempt.invitation_id is None or attempt.closed_at is not None:
            continue
        message = moment.messages.get(attempt.invitation_id)
        if message is None:
            yield f"an open attempt of row {attempt.job_id} is of no message"
        elif message.job_id != attempt.job_id:
            yield f"{of_message(message)} has an open attempt of row {attempt.job_id}"
        elif message.state is not InvitationState.WORKING:
            yield f"{of_message(message)} has an open attempt, and is not being sent"
