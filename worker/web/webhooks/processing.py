"""Applies the webhooks that are kept and due, and says in the log and in the metrics what became of them."""

import logging
from datetime import datetime

from worker.core.foundation.clock import Clock
from worker.core.model.metrics import PROCESSED, Meters
from worker.core.model.states import LISTED_WEBHOOKS, WebhookState
from worker.core.model.wakeups import WakeUp
from worker.lists.traces import NO_TRACES, Traces
from worker.web.webhooks.store.results import ACCOUNT, Processed
from worker.web.webhooks.store.webhooks import CHUNK, Webhooks

log = logging.getLogger(__name__)
LOGGED_AT_ONCE = 5  # log lines for each chunk of webhooks
PROCESSED_AT_ONCE = 20  # chunks of webhooks in a tick: other due work must not wait for all webhooks of an outage


def _trace(traces: Traces, webhooks: Webhooks, processed: Processed, began_at: datetime, ended_at: datetime) -> None:
    for source, one, traceparent in webhooks.traced(processed.done):
        failed, facts = one.state in LISTED_WEBHOOKS, {"source": source}
        traces.step(traceparent, "apply webhook", began_at, ended_at, one.state.value, facts, failed=failed)


def process_webhooks(webhooks: Webhooks, clock: Clock, meters: Meters, traces: Traces = NO_TRACES) -> set[WakeUp]:
    """Process the webhooks that are due; returns the wake-ups for what became due by that.

    The process that takes webhooks in processes them at once. The sweep finds those that were left, and those that
    are tried again.
    """
    due: set[WakeUp] = set()
    for _ in range(PROCESSED_AT_ONCE):
        now = clock()
        if not webhooks.any_due(now=now):
            break
        processed = webhooks.process(now=now)
        due |= processed.due
        if traces.on:
            _trace(traces, webhooks, processed, now, clock())
        for source, _, one in processed.done:
            meters.add(PROCESSED, source, one.state.value)
        listed = processed.listed
        for source, event, state, detail in listed[:LOGGED_AT_ONCE]:
            level = logging.ERROR if state is WebhookState.BROKEN else logging.WARNING
            named = {"account" if source.startswith(ACCOUNT) else "channel": source.partition("/")[2]}
            words = (event, source, state.value, detail)
            log.log(level, "%s of %s is %s: %s; see `onboard events webhooks list`", *words, extra=named)
        if (more := len(listed) - LOGGED_AT_ONCE) > 0:
            log.warning("%d more webhooks need a look; see `onboard events webhooks list`", more)
        if processed.count < CHUNK:
            break
    return due
