"""`GET /metrics`: what Prometheus scrapes, for a key of `[metrics]`. Its metrics are those that are counted
(`core.model.metrics`), and those that a scrape reads; its numbers are those of all processes. A label's values are of
the configuration, or of a fixed list of words.

prometheus-client is loaded when the first page is made: other commands need not wait for it.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa
from aiohttp import web

from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.limits.budgets import BudgetState
from onboarding_worker.core.model import metrics
from onboarding_worker.core.model.metrics import BEYOND, SUM, Metric, Series, Type, bucket_of
from onboarding_worker.core.model.states import InvitationState
from onboarding_worker.features.metrics.section import Metrics
from onboarding_worker.features.metrics.store.gauges import Configured, Gauges, read
from onboarding_worker.reporting.store.processes import BEAT, SWEEP
from onboarding_worker.runtime.web_application import FeatureRoutes, Shared
from onboarding_worker.settings.outside import hash_of, is_hash
from onboarding_worker.settings.secrets import Secret
from onboarding_worker.web.events.request_body import TWICE, has_credentials_twice
from onboarding_worker.web.problems import REFUSED, problem
from onboarding_worker.web.turns import ANSWER_SECONDS as WITHIN_SECONDS
from onboarding_worker.web.turns import InThread, answered_within
from onboarding_worker.wiring.container import Parts

log = logging.getLogger(__name__)

PREFIX = "onboarding_"
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

COUNTED = tuple(one for one in vars(metrics).values() if isinstance(one, Metric))  # in the order of that module
READ = tuple(one for one in list(globals().values()) if isinstance(one, Metric))  # in the order above


if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

Values = Mapping[tuple[str, ...], float]


@dataclass(frozen=True)
class Page:
    """One scrape."""

    values: Mapping[Metric, Values]
    counts: Mapping[Series, float]

    def written(self, accept: str) -> tuple[bytes, str]:
        """The page in the form that the scraper accepts, and its content type."""
        from prometheus_client.exposition import choose_encoder

        try:
            write, kind = choose_encoder(accept)
        except TypeError:  # of a version that is no number
            write, kind = choose_encoder("")
        return write(self), kind

    def collect(self) -> Iterator[Family]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for metric in READ:
            gauge = GaugeMetricFamily(PREFIX + metric.name, metric.says, labels=metric.labels)
            for labels, value in sorted(self.values.get(metric, {}).items()):
                gauge.add_metric(labels, value)
            yield gauge
        by_metric: dict[str, dict[tuple[str, ...], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        for series, value in self.counts.items():
            by_metric[series.metric][series.labels][series.bucket] = value
        for metric in COUNTED:
            found = sorted(by_metric[metric.name].items())
            if metric.type is Type.COUNTER:
                counter = CounterMetricFamily(PREFIX + metric.name, metric.says, labels=metric.labels)
                for labels, buckets in found:
                    counter.add_metric(labels, buckets.get("", 0.0))
                yield counter
                continue
            histogram = HistogramMetricFamily(PREFIX + metric.name, metric.says, labels=metric.labels)
            for labels, buckets in found:
                histogram.add_metric(labels, _cumulated(metric, buckets), sum_value=buckets.get(SUM, 0.0))
            yield histogram


def _cumulated(metric: Metric, buckets: Mapping[str, float]) -> list[tuple[str, float]]:
    """Prometheus's buckets count what lies below them too. A bound of an older release counts to the next one."""
    known = sorted((float(bucket), count) for bucket, count in buckets.items() if bucket != SUM)
    return [
        (bucket_of(bound) if bound != float("inf") else BEYOND, sum(count for at, count in known if at <= bound))
        for bound in (*metric.bounds, float("inf"))
    ]


UNREACHABLE = Page({DATABASE_UP: {(): 0.0}}, {})


def page_of(gauges: Gauges, budgets: Mapping[str, BudgetState], configured: Configured, *, now: datetime) -> Page:
    """The page. What is no longer configured is left out."""
    rules, age = configured.rules, partial(_seconds, until=now)
    states = {name: budgets.get(rule.name, BudgetState()) for name, rule in rules.items()}
    known = {name: (rule.rate, states[name].pace.rate) for name, rule in rules.items()}
    rates = {
        name: min(rate for rate in both if rate is not None) for name, both in known.items() if both != (None, None)
    }
    timers = {name: age(at) for name, at in gauges.timers.items()}
    capped = {rule.called: rule.credits for rule in configured.accounts.values() if rule.credits is not None}
    values: dict[Metric, Values] = {
        DATABASE_UP: {(): 1.0},
        JOBS: _one(gauges.jobs.items()),
        JOBS_WAITING: _one((name, gauges.waiting.get(name, 0)) for name in configured.accounts),
        NOT_CONFIGURED: {(): float(_not_configured(gauges, configured))},
        FIRST_MESSAGES: {(*pair,): float(number) for pair, number in gauges.messages.items()},
        OLDEST_DUE: {
            (work, name): age(at)
            for work, due in (("issue", gauges.due_jobs), ("invite", gauges.due_messages))
            for name, at in due.items()
        },
        CREDITS: {(rule.called,): float(states[name].credits_used) for name, rule in configured.accounts.items()},
        CREDITS_CAP: _one(capped.items()),
        STOPPED: _one((name, state.stopped_at is not None) for name, state in states.items()),
        PAUSED: _one((name, _seconds(now, state.blocked_until)) for name, state in states.items()),
        BREAKER: _one((name, state.opened_at is not None) for name, state in states.items()),
        RATE: _one(rates.items()),
        PERMITS: _one((name, gauges.permits.get(rule.name, 0)) for name, rule in rules.items()),
        CONCURRENCY: _one((name, rule.concurrency) for name, rule in rules.items()),
        PROCESSES: _one(gauges.processes.items()),
        BEAT_AGE: {(): timers[BEAT]} if BEAT in timers else {},
        SWEEP_AGE: {(): timers[SWEEP]} if SWEEP in timers else {},
        OUTBOX_AGE: _one((target, age(at)) for target, at in gauges.outbox.items()),
        GIVEN_UP: _one((target, gauges.given_up.get(target, 0)) for target in configured.targets),
        WEBHOOKS_AGE: {(): age(gauges.webhooks)},
        WEBHOOKS_TO_CHECK: {(): float(gauges.webhooks_to_check)},
    }
    return Page(values, {series: value for series, value in gauges.counts.items() if _is_shown(series, configured)})


def _one(values: Iterable[tuple[str, float]]) -> dict[tuple[str, ...], float]:
    return {(name,): float(value) for name, value in values}


def _not_configured(gauges: Gauges, configured: Configured) -> int:
    jobs = sum(rows for name, rows in gauges.waiting.items() if name not in configured.accounts)
    messages = sum(
        rows
        for (channel, state), rows in gauges.messages.items()
        if channel not in configured.channels and state == InvitationState.WAITING
    )
    return jobs + messages


def _seconds(since: datetime | None, until: datetime | None) -> float:
    return max((until - since).total_seconds(), 0.0) if since is not None and until is not None else 0.0


def _is_shown(series: Series, configured: Configured) -> bool:
    """Whether this release has the metric, and the configuration the names in its labels."""
    metric = _BY_NAME.get(series.metric)
    if metric is None or len(metric.labels) != len(series.labels):
        return False
    named: Mapping[str, Collection[str]] = {
        "account": configured.accounts,
        "channel": configured.channels,
        "target": configured.targets,
        "source": [*(f"account/{name}" for name in configured.accounts), *(f"sender/{n}" for n in configured.channels)],
    }
    return all(
        name not in named or value in named[name] for name, value in zip(metric.labels, series.labels, strict=True)
    )


_BY_NAME = {metric.name: metric for metric in COUNTED}


# A second scrape within this time gets the same page, and the database is not asked.
KEPT_SECONDS = 1.0


class MetricsRoute:
    """Belongs to one loop."""

    def __init__(self, keys: Iterable[Secret], make: Callable[[], Page], in_thread: InThread) -> None:
        """`make` is a blocking call."""
        self._keys = [key if is_hash(key) else hash_of(key) for key in (one.reveal() for one in keys)]
        self._make, self._in_thread = make, in_thread
        self._page: tuple[float, Page] | None = None
        self._reading = asyncio.Lock()
        self._outage = Outage(log)

    async def get(self, request: web.Request) -> web.Response:
        if not self._keys:
            return problem(404, "not found")
        if has_credentials_twice(request):
            return problem(400, TWICE)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        shown = hash_of(given.strip())
        # A list: all keys are compared, also after one fits.
        fits = [hmac.compare_digest(key, shown) for key in self._keys]
        if scheme.lower() != "bearer" or not any(fits):
            request[REFUSED] = "metrics: no key, or a wrong one"
            return problem(401, "the key is none of [metrics]", headers={"WWW-Authenticate": "Bearer"})
        body, kind = (await self._read()).written(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    async def _read(self) -> Page:
        async with self._reading:  # scrapes at the same time share one look
            if self._page is None or monotonic() - self._page[0] >= KEPT_SECONDS:
                try:
                    async with answered_within(WITHIN_SECONDS):
                        page: Page = await self._in_thread(self._make)
                    self._outage.over("the database is back: metrics are read")
                except sa.exc.OperationalError as error:
                    page = UNREACHABLE
                    what = "the database cannot be used, metrics are not read"
                    self._outage.lasts(what, monotonic(), why=reason(error))
                self._page = (monotonic(), page)
            return self._page[1]


def page_now(parts: Parts) -> Page:
    """What a scrape shows now. Blocks."""
    rules = parts.budget_rules
    configured = Configured(rules.accounts, rules.channels, parts.targets)
    now = parts.clock()
    return page_of(read(parts.database, configured, now=now), parts.budgets.all(), configured, now=now)


def add(made: web.Application, shared: Shared) -> None:
    keys = shared.parts.settings.section(Metrics).keys
    made.router.add_get("/metrics", MetricsRoute(keys, lambda: page_now(shared.parts), shared.in_thread).get)


ROUTES = FeatureRoutes(add)
