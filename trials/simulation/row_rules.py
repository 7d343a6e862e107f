"""Rules of the rows: what must hold for them between any two transactions, however many lists want a customer.

Each is a query that finds the rows which break it. They are asked at each beat, and at the end. Not here: that one row
of a customer leads, and that one of its sessions could be used. The database has an index for each.
"""

from collections.abc import Callable, Iterable

from onboarding_worker.core.database.job_ids import ROWS
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import ENDED_JOBS, HELD_BACK, OPEN_INVITATIONS, OPEN_JOBS, PAUSED


def _of(states: object) -> str:
    return ", ".join(sorted(f"'{state.value}'" for state in states))  # type: ignore[attr-defined]


_OPEN, _ENDED = _of(OPEN_JOBS), _of(ENDED_JOBS)
# A list that pauses itself is only marked, and a resume or a cancel may be cut off: the next sweep goes on with both.
_SETTLED = "batch.changing_since IS NULL AND (batch.pause_cause = '' OR batch.paused_at IS NOT NULL)"
_AT_ODDS = f"{{0}}.priority < {HELD_BACK} AND ({{0}}.priority >= {PAUSED}) <> (batch.pause_cause <> '') AND {_SETTLED}"
_HAS_LINK = "job.leader_id IS NULL AND job.state IN ('issued', 'invited')"
# A first message about a row's session, or one that the desk sends again.
_UNDER_WAY = """EXISTS (SELECT 1 FROM invitation WHERE invitation.job_id = job.id
    AND invitation.session_id = job.session_id AND invitation.state IN ('waiting', 'working')
    AND (invitation.kind = 'invitation' OR invitation.kind LIKE 'resend-%%'))"""


def _unlike(states_of: Callable[[Reason], Iterable[object]]) -> str:
    """Whose reason is none of its state. While a row or a message is worked, it keeps the reason of before."""
    pairs = [f"(reason = '{one}' AND state IN ({_of(states_of(one))}))" for one in Reason if states_of(one)]
    return f"reason <> '' AND state <> 'working' AND NOT ({' OR '.join(pairs)})"


_JOB, _MESSAGE = "SELECT job.id, job.customer_id, job.state", "SELECT message.job_id, message.kind, message.state"

QUERIES = {
    # Who follows only waits, for a row of the same customer that goes on.
    "followers_wait_for_a_row_that_goes_on": f"""{_JOB} FROM job LEFT JOIN job AS lead ON lead.id = job.leader_id
        WHERE job.leader_id IS NOT NULL AND (lead.id IS NULL OR lead.leader_id IS NOT NULL OR lead.state = 'cancelled'
        OR lead.customer_id <> job.customer_id OR lead.purpose <> job.purpose OR job.state <> 'waiting'
        OR job.lease_until IS NOT NULL OR job.due_at IS NOT NULL)""",
    "each_row_waits_for_a_time_or_a_worker": f"""{_JOB} FROM job
        WHERE (state = 'waiting' AND leader_id IS NULL AND due_at IS NULL)
        OR (state NOT IN ('waiting', 'working') AND due_at IS NOT NULL)
        OR (state = 'working' AND lease_until IS NULL)
        OR (state IN ({_OPEN}) AND state <> 'working' AND lease_until IS NOT NULL AND lease_owner <> '')""",
    "each_message_waits_for_a_time_or_a_worker": f"""{_MESSAGE} FROM invitation AS message
        WHERE (state = 'waiting' AND due_at IS NULL) OR (state = 'working') <> (lease_until IS NOT NULL)""",
    # A row that a call is being made for is marked, and ends with its call.
    "cancelled_lists_have_no_open_rows": f"""{_JOB} FROM job JOIN batch ON batch.id = job.batch_id
        WHERE batch.cancelled_at IS NOT NULL AND batch.changing_since IS NULL AND job.cancelled_at IS NULL
        AND job.state IN ({_OPEN}) AND job.state <> 'working'""",
    "a_pause_reaches_each_row": f"""{_JOB} FROM job JOIN batch ON batch.id = job.batch_id
        WHERE (job.state IN ({_OPEN}, 'failed') OR batch.pause_cause = '') AND {_AT_ODDS.format("job")}""",
    # Of a row that has ended no message leaves: a claim puts it away. What a person sends again leaves in a pause.
    "a_pause_reaches_each_message": f"""{_MESSAGE} FROM invitation AS message
        JOIN batch ON batch.id = message.batch_id JOIN job ON job.id = message.job_id
        WHERE (batch.pause_cause = '' OR (message.state IN ({_of(OPEN_INVITATIONS)}, 'failed')
        AND job.state NOT IN ({_ENDED}))) AND NOT (message.kind LIKE 'resend-%%' AND batch.pause_cause <> '')
        AND {_AT_ODDS.format("message")}""",
    # docs/reference/states.md
    "each_reason_is_of_its_state": f"""SELECT id, state, reason FROM job WHERE {_unlike(lambda one: one.jobs)}
        UNION ALL SELECT job_id, state, reason FROM invitation WHERE {_unlike(lambda one: one.messages)}""",
    "calls_are_under_way_under_a_lease": f"""SELECT attempt.id FROM attempt LEFT JOIN job ON job.id = attempt.job_id
        WHERE job.id IS NULL OR attempt.batch_id <> attempt.job_id / {ROWS}
        OR (attempt.invitation_id IS NULL AND attempt.closed_at IS NULL AND job.lease_until IS NULL)""",
    "hand_overs_are_under_way_under_a_lease": """SELECT attempt.job_id FROM attempt
        LEFT JOIN invitation AS message ON message.id = attempt.invitation_id
        WHERE attempt.invitation_id IS NOT NULL AND attempt.closed_at IS NULL
        AND (message.id IS NULL OR message.job_id <> attempt.job_id OR message.state <> 'working')""",
    "each_session_is_of_a_row_of_its_customer": """SELECT session.customer_id FROM session
        LEFT JOIN job ON job.id = session.job_id
        WHERE job.id IS NULL OR job.customer_id <> session.customer_id OR job.purpose <> session.purpose""",
    "each_message_is_of_a_row_of_its_customer": f"""{_MESSAGE} FROM invitation AS message
        LEFT JOIN job ON job.id = message.job_id LEFT JOIN session ON session.id = message.session_id
        WHERE job.id IS NULL OR session.id IS NULL OR session.customer_id <> job.customer_id
        OR message.batch_id <> job.batch_id""",
    "who_is_invited_has_a_session": f"""{_JOB} FROM job LEFT JOIN session ON session.id = job.session_id
        WHERE (session.id IS NULL AND job.session_id IS NOT NULL AND job.state IN ({_OPEN}))
        OR ({_HAS_LINK} AND (session.id IS NULL OR session.state IN ('superseded', 'completed')))""",
    "who_has_a_session_gets_a_message": f"""{_JOB} FROM job JOIN session ON session.id = job.session_id
        WHERE job.state = 'issued' AND job.leader_id IS NULL AND session.result <> 'review' AND NOT {_UNDER_WAY}""",
    # A provider without a list cannot be asked about a review, and who is erased gets no other session.
    "each_session_is_looked_at_when_it_ends": f"""{_JOB} FROM job JOIN session ON session.id = job.session_id
        JOIN customer ON customer.customer_id = job.customer_id AND customer.encrypted IS NOT NULL
        WHERE {_HAS_LINK} AND session.check_at IS NULL AND NOT {_UNDER_WAY}
        AND NOT (session.result = 'review' AND session.account NOT IN ('kyc', 'lt'))""",
}
