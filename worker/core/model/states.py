"""The states of jobs, sessions, invitations and batches, what pauses a batch, priorities, and outcomes of attempts.

    job         waiting → working → issued → invited → completed | lapsed;  also held, failed, cancelled
    invitation  waiting → working → sent → delivered | bounced;  also held, failed, suppressed, superseded
    session     waiting → started → completed | failed | expired | superseded;  before it, with stable links: deferred

`docs/reference/states.md` explains each state to operators. `endings` has the state that a step's ending leads to.
"""

from collections.abc import Sequence
from enum import StrEnum


class JobState(StrEnum):
    WAITING = "waiting"
    WORKING = "working"
    ISSUED = "issued"
    INVITED = "invited"
    COMPLETED = "completed"
    LAPSED = "lapsed"
    HELD = "held"
    FAILED = "failed"
    CANCELLED = "cancelled"


class LineState(StrEnum):
    """The states that only lines have: they become no job of their own."""

    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    KNOWN = "known"  # its customer was known, and the rule asks for nothing new
    JOINED = "joined"  # another row serves its customer, who was invited for that one


# A job in one of these states has ended: nothing more happens to it by itself.
ENDED_JOBS = frozenset({JobState.COMPLETED, JobState.LAPSED, JobState.FAILED, JobState.CANCELLED})
OPEN_JOBS = tuple(state for state in JobState if state not in ENDED_JOBS)
# A batch counts as sent when all of its jobs are in these states.
OUT_JOBS = ENDED_JOBS | {JobState.INVITED, JobState.HELD}

# The first invitation of a job in one of these states is out.
REACHED_JOBS = (JobState.INVITED, JobState.COMPLETED, JobState.LAPSED)
# A job in one of these states waits for its session.
UNISSUED_JOBS = (JobState.WAITING, JobState.WORKING)
# The first invitation of a job in one of these states has yet to leave.
UNSENT_JOBS = (*UNISSUED_JOBS, JobState.ISSUED)


def state_of_line(state: JobState, *, joined: bool) -> JobState | LineState:
    """The state of a job as lists and counts show it. A job that joined another has its state, but for the invitation:
    there was none for it."""
    return LineState.JOINED if joined and state is JobState.INVITED else state


class InvitationState(StrEnum):
    WAITING = "waiting"
    WORKING = "working"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    SUPPRESSED = "suppressed"
    FAILED = "failed"
    HELD = "held"
    SUPERSEDED = "superseded"  # not to be sent any more, and no failure; the reason says why


# A message in one of these states may still leave.
OPEN_INVITATIONS = (InvitationState.WAITING, InvitationState.WORKING, InvitationState.HELD)
# A message in one of these states reached no one: it may be sent after all.
UNDELIVERED_INVITATIONS = (
    InvitationState.FAILED,
    InvitationState.SUPERSEDED,
    InvitationState.BOUNCED,
    InvitationState.SUPPRESSED,
)


class SessionState(StrEnum):
    # The customer has our own link, and nothing was asked of a provider: the session is bought on click.
    DEFERRED = "deferred"
    WAITING = "waiting"  # open, no update yet
    STARTED = "started"  # the customer has begun
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


# A customer has at most one session in these states for each purpose: a unique index makes sure.
LIVE_SESSIONS = frozenset({SessionState.WAITING, SessionState.STARTED})


class Result(StrEnum):
    """What the provider decided about the customer; kept apart from the session's state."""

    APPROVED = "approved"
    DENIED = "denied"
    SUSPECTED = "suspected"  # not a refusal: our side decides
    REVIEW = "review"  # the customer has submitted, and a person reviews it
    UNKNOWN = "unknown"  # finished, but the event does not name the result


class BatchState(StrEnum):
    READY = "ready"
    BEGUN = "begun"  # whether or not a process works it now
    PAUSED = "paused"
    SENT = "sent"
    FINISHED = "finished"
    CANCELLED = "cancelled"


def job_state_from_invitations(states: list[InvitationState]) -> JobState | None:
    """The state of a job as its invitations decide it; None while it is undecided (the job stays issued).

    One sent invitation makes the job invited at once. When all were tried: a held invitation makes the job held,
    whatever became of the other invitations; and a job without any sent invitation has failed.
    """
    left = [state for state in states if state is not InvitationState.SUPERSEDED]
    if not all(isinstance(state, InvitationState) for state in left):
        return None  # a word of a newer release: it is not known whether this message was sent
    out = any(state in (InvitationState.SENT, InvitationState.DELIVERED) for state in left)
    held = any(state is InvitationState.HELD for state in left)
    trying = any(state in (InvitationState.WAITING, InvitationState.WORKING) for state in left)
    if held and not trying:
        return JobState.HELD
    if out:
        return JobState.INVITED
    return None if trying or not left else JobState.FAILED


class WebhookState(StrEnum):
    WAITING = "waiting"
    APPLIED = "applied"
    IGNORED = "ignored"  # it changes nothing
    UNKNOWN = "unknown"  # unmatched
    ALERT = "alert"  # applied, and a person should look at it
    BROKEN = "broken"
    SEEN = "seen"  # one of the last three, and a person has looked at it


# The states that an operator sees.
LISTED_WEBHOOKS = (WebhookState.UNKNOWN, WebhookState.ALERT, WebhookState.BROKEN)
# The states that status and alerts name: not the unknown, since accounts may serve other systems' sessions too.
WEBHOOKS_TO_CHECK = (WebhookState.ALERT, WebhookState.BROKEN)


class PauseCause(StrEnum):
    """What paused a batch.

    `onboard resume` lifts every pause. An interrupt is also lifted by `run` with the same list, and by `up` and
    `run --all` once a person has agreed.
    """

    PERSON = "person"  # `onboard pause`
    INTERRUPT = "interrupt"  # Ctrl-C on `onboard run`
    ITSELF = "itself"  # too many of its messages came back, or its pilot asks for a person


# Priorities: a claim takes the lower number first.
# Jobs of events go before jobs of batches, except for the share that `claims.share_out` keeps for batches.
EVENT, BATCH = 0, 10
PRIORITIES = (EVENT, BATCH)
# Added to the priority of a paused batch's rows. No claim asks for these priorities, so paused rows slow no claim.
PAUSED = 100
# Added to the priority of a list's rows behind its pilot, until the verdict. A pause leaves them as they are.
HELD_BACK = 200


def of_a_person(job: int) -> int:
    """The priority of a message that a person sends for a job with this one: a pause of its batch does not hold it."""
    return job % PAUSED


def of_reminders(job: int) -> int:
    """The priority of the reminders of a job with this one: a list's, also for an event's, since no caller waits."""
    return BATCH if job in PRIORITIES else BATCH + PAUSED


# What an attempt's `outcome` says, besides the kinds of problems.
DONE = "done"
NOT_SENT = "not_sent"  # the row was released before its call was made, which was certainly not carried out
UNREACHABLE = "unreachable"  # as the reason: no request was sent, so the call was certainly not carried out
LATE = "late"  # the lease was lost before the result came
MORE = "more"  # the outcome of a look-up that must go on with the next page
UNANSWERED = "unanswered"  # … whose answer is of no use: its worker died, or the call's own answer came first


def references(found: Sequence[str]) -> str:
    """What an attempt's `found` says: the references that fit into the column as a whole."""
    text = " ".join(found)
    return text if len(text) <= 400 else text[:400].rpartition(" ")[0]
