"""The end of a history: each list goes on, all goes well from here, and nothing may be left that waits."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from trials.lists import operations, people
from trials.lists.answers import flush, flush_messages
from trials.lists.rules import broken
from trials.lists.world import World
from worker.domain.model.customers import Channel
from worker.domain.model.states import OPEN_JOBS, InvitationState, JobState, SessionState
from worker.domain.verification.session_updates import Result
from worker.store.base.priorities import HELD_BACK
from worker.store.operators.decisions import CUT_OFF_AFTER
from worker.store.tables import Batch, BatchPlan, InvitationRow, Job, SessionRow

ROUNDS = 100  # moments at which something is due
REVIEWS_LAST = 10  # rounds, at most
TURNS = 12  # of flushes and sweeps, until nothing is due at one moment
SECOND = timedelta(seconds=1)
STEP = timedelta(hours=1)  # at least, between two rounds
# A person settles a held row. The others end with their call, or at their next claim.
AT_REST = (JobState.HELD, JobState.WORKING, JobState.WAITING)


def drained(world: World) -> list[str]:
    """The complaints of the end."""
    world.note("all goes well from here")
    _until_nothing_is_due(world)
    # Until then an account waits for a probe whose worker has died, and a list for a resume that was killed.
    world.clock.now += CUT_OFF_AFTER + SECOND
    for number in range(ROUNDS):
        _until_nothing_is_due(world)
        if complaints := [*broken(world), *_left_behind(world)]:
            return complaints
        times = [due for due in _times(world) if due > world.now()]
        if number >= REVIEWS_LAST and not times:
            break
        if number == REVIEWS_LAST or not times:
            _end_reviews(world)
        world.clock.now = max(min(times, default=world.now()), world.now() + STEP)
    return list(_waits_for_ever(world))


def _until_nothing_is_due(world: World) -> None:
    for _ in range(TURNS):
        operations.pilots_go_on(world)
        people.go_on_with_all(world)
        calls, world.calls = world.calls, []
        flush(world, calls, most=100, well=True)
        for channel in ("email", "sms"):
            messages = [message for of, message in world.messages if of == channel]
            world.messages = [one for one in world.messages if one[0] != channel]
            flush_messages(world, channel, messages, most=100, well=True)
        operations.the_beat_sweeps(world)
        world.settle()
        if not world.calls and not world.messages and not any(due <= world.now() for due in _due(world)):
            break


def _due(world: World) -> Iterator[datetime]:
    """When the rows and messages that wait are due. Rows behind a pilot wait for its verdict."""
    for job in world.rows(Job, joins=None, state=JobState.WAITING):
        if job.priority < HELD_BACK:
            yield job.due_at
    for message in world.rows(InvitationRow, state=InvitationState.WAITING):
        yield message.due_at


def _times(world: World) -> Iterator[datetime]:
    """When something happens by itself."""
    yield from _due(world)
    for row in (*world.rows(SessionRow), *world.rows(BatchPlan)):
        if row.check_at is not None:
            yield row.check_at


def _end_reviews(world: World) -> None:
    for session in world.rows(SessionRow, result=Result.REVIEW):
        world.note("approved:", session.customer_id, session.reference)
        world.hear(session, SessionState.COMPLETED, Result.APPROVED)


def _left_behind(world: World) -> Iterator[str]:
    """What could have been done by now."""
    now, batches = world.now(), {batch.id: batch for batch in world.rows(Batch)}
    for job in world.rows(Job):
        who = f"{job.customer_id} in list {job.batch_id} ({job.state.value}, {job.reason}, priority {job.priority})"
        leads, is_open = job.joins is None, job.state in OPEN_JOBS and job.state not in AT_REST
        if leads and job.state is JobState.WAITING and job.due_at <= now and job.priority < HELD_BACK:
            yield f"nobody_waits_when_due: {who}"
        if job.state is JobState.WORKING and job.lease_until < now:
            yield f"leases_end: {who}"
        if leads and is_open and job.cancelled_at is not None:
            yield f"cancelled_rows_end: {who}"
        if is_open and batches[job.batch_id].cancelled_at is not None:
            yield f"cancelled_lists_end: {who}"
    for message in world.rows(InvitationRow):
        about = f"{message.kind} by {message.channel}, job {message.job_id}, priority {message.priority}"
        if message.state is InvitationState.WAITING and message.due_at <= now:
            yield f"no_message_waits_when_due: {about}"
        if message.state is InvitationState.WORKING and message.lease_until < now:
            yield f"leases_end: {about}"


def _waits_for_ever(world: World) -> Iterator[str]:
    """At the end each row is over or held, or its caller has the link."""
    for job in world.rows(Job, joins=None):
        handed_out = job.state is JobState.ISSUED and job.channel is Channel.NONE
        if job.state in OPEN_JOBS and job.state is not JobState.HELD and not handed_out:
            yield (
                f"nobody_waits_for_ever: {job.customer_id} in list {job.batch_id} is {job.state.value}"
                f" ({job.reason}, due {job.due_at})"
            )
