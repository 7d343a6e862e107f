"""The metrics that a scrape reads, beside those that are counted (`core.model.metrics`). Pure."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from onboarding_worker.core.model.metrics import Metric, Type

Values = Mapping[Any, float]  # by the labels' values, a tuple
_gauge = partial(Metric, Type.GAUGE)

DATABASE_UP = _gauge("database_up", (), "1: the database answered this scrape; 0: only this metric is shown.")
JOBS = _gauge("jobs", ("state",), "Jobs by state, of all batches, without rows that joined another row's job.")
JOBS_WAITING = _gauge("jobs_waiting", ("account",), "Jobs that wait for a call to this account, due now or later.")
NOT_CONFIGURED = _gauge(
    "not_configured_waiting", (), "Jobs and first messages that wait for an account or channel that is not configured."
)
FIRST_MESSAGES = _gauge("first_messages", ("channel", "state"), "First messages of sessions, by state.")
OLDEST_DUE = _gauge("oldest_due_seconds", ("work", "name"), "How long the oldest due row has waited; 0: none is due.")
CREDITS = _gauge("credits_used", ("account",), "Calls that cost a credit, or may have; of a shared budget once.")
CREDITS_CAP = _gauge("credits_cap", ("account",), "The cap on credits, where there is one; of a shared budget once.")
STOPPED = _gauge("stopped", ("name",), "1: the account or sender is stopped until a person acts.")
PAUSED = _gauge("paused_seconds", ("name",), "How long the account or sender is still paused; 0: it is not.")
BREAKER = _gauge("breaker_open", ("name",), "1: calls in a row failed; of a sender: it cannot be reached.")
RATE = _gauge("rate_limit_per_second", ("name",), "Calls per second that the limits allow, or fewer if so found.")
PERMITS = _gauge("permits_used", ("name",), "Calls in flight that workers have reserved.")
CONCURRENCY = _gauge("concurrency", ("name",), "The most calls in flight, of all workers together.")
PROCESSES = _gauge("processes", ("kind",), "Processes that have said within 20 seconds that they run.")
BEAT_AGE = _gauge("beat_age_seconds", (), "How long ago the scheduler's last wake-up came; no value: never.")
SWEEP_AGE = _gauge("sweep_age_seconds", (), "How long ago the last sweep began; no value: never.")
OUTBOX_AGE = _gauge("outbox_oldest_seconds", ("target",), "How long the oldest event for the target has waited.")
GIVEN_UP = _gauge("outbox_given_up", ("target",), "Events that were given up, and are still kept.")
WEBHOOKS_AGE = _gauge("webhooks_oldest_due_seconds", (), "How long the oldest due webhook has waited.")
WEBHOOKS_TO_CHECK = _gauge(
    "webhooks_to_check", (), "Webhooks that a person is to check (`onboard events webhooks list`)."
)

READ = tuple(one for one in list(globals().values()) if isinstance(one, Metric))  # in the order above
