"""Rules of sessions: one for a customer, and somebody looks at it when it ends."""

from collections import Counter
from collections.abc import Iterator

from trials.lists.rules.seen import Row, Seen, of_job
from trials.lists.world import key_of
from worker.domain.model.customers import Channel
from worker.domain.model.states import ENDED_JOBS, LIVE_SESSIONS, JobState, SessionState
from worker.domain.verification.session_updates import Result


def one_session_could_be_used(moment: Seen) -> Iterator[str]:
    live = Counter(key_of(session) for session in moment.sessions.values() if session.state in LIVE_SESSIONS)
    for (customer, _), number in live.items():
        if number > 1:
            yield f"{customer} has {number}"


def each_belongs_to_a_row_of_its_customer(moment: Seen) -> Iterator[str]:
    for session in moment.sessions.values():
        job = moment.jobs.get(session.job_id)
        if job is None:
            yield f"{session.reference} of {session.customer_id}: its row is gone"
        elif key_of(job) != key_of(session):
            yield f"{session.reference} of {session.customer_id} belongs to {of_job(job)}"


def who_is_invited_has_a_session(moment: Seen) -> Iterator[str]:
    """The session of an open row is there. Where a link was handed out, it is not one that was replaced or is over."""
    for job in moment.jobs.values():
        session = moment.sessions.get(job.session_id)
        if session is None:
            if _has_a_link(job) or (job.session_id is not None and job.state not in ENDED_JOBS):
                yield f"{of_job(job)}: its session is gone"
        elif _has_a_link(job):
            if key_of(session) != key_of(job):
                yield f"{of_job(job)} has a session of {session.customer_id}"
            if session.state in (SessionState.SUPERSEDED, SessionState.COMPLETED):
                yield f"{of_job(job)}: its session is {session.state.value}"


def each_is_looked_at_when_it_ends(moment: Seen) -> Iterator[str]:
    """A session in use has a time at which it is looked at; one whose message has yet to leave gets it then.

    A provider that lists no sessions cannot be asked about a review: its verdict comes by webhook. An erased customer
    gets no other session.
    """
    for job in moment.jobs.values():
        session = moment.sessions.get(job.session_id)
        if session is None or session.check_at is not None or not _has_a_link(job) or job.channel is Channel.NONE:
            continue
        told = session.result == Result.REVIEW and not moment.lists_sessions
        told = told or job.customer_id in moment.erased
        if not told and not moment.has_message_under_way(job):
            yield f"{of_job(job)}: nobody looks at its session ({session.state.value}, {session.result or 'no result'})"


def _has_a_link(job: Row) -> bool:
    return job.joins is None and job.state in (JobState.ISSUED, JobState.INVITED)
