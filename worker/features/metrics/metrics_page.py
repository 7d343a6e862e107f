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
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa
from aiohttp import web

from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model import metrics
from onboarding_worker.core.model.metrics import BEYOND, SUM, Metric, Series, Type, bucket_of
from onboarding_worker.core.rules.budgets import BudgetState
from onboarding_worker.features.metrics import gauges
from onboarding_worker.features.metrics.gauges import Values
from onboarding_worker.features.metrics.section import Metrics
from onboarding_worker.features.metrics.store.gauges import read, seconds
from onboarding_worker.runtime.web_application import FeatureRoutes, Shared
from onboarding_worker.settings.outside import hash_of, is_hash
from onboarding_worker.settings.policies import BudgetRules
from onboarding_worker.web.events.request_body import TWICE, has_credentials_twice
from onboarding_worker.web.problems import REFUSED, problem
from onboarding_worker.web.turns import ANSWER_SECONDS as WITHIN_SECONDS
from onboarding_worker.web.turns import answered_within
from onboarding_worker.wiring.container import Parts

log = logging.getLogger(__name__)

PREFIX = "onboarding_"
COUNTED = tuple(one for one in vars(metrics).values() if isinstance(one, Metric))  # in the order of that module


if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family


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

        for metric in gauges.READ:
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


UNREACHABLE = Page({gauges.DATABASE_UP: {(): 0.0}}, {})


def page_of(
    stored: Mapping[Metric, Values],
    counts: Mapping[Series, float],
    budgets: Mapping[str, BudgetState],
    rules: BudgetRules,
    targets: Collection[str],
    *,
    now: datetime,
) -> Page:
    """The page: what is stored, and how the budgets stand. What is no longer configured is left out."""
    every, accounts = rules.all(), rules.accounts.items()
    states = {name: budgets.get(rule.name, BudgetState()) for name, rule in every.items()}
    rates = {
        name: [rate for rate in (rule.rate, states[name].pace.rate) if rate is not None] for name, rule in every.items()
    }
    values: dict[Metric, Values] = {
        gauges.DATABASE_UP: {(): 1.0},
        gauges.CREDITS: {(rule.called,): float(states[name].credits_used) for name, rule in accounts},
        gauges.CREDITS_CAP: {(rule.called,): float(rule.credits) for _, rule in accounts if rule.credits is not None},
        gauges.STOPPED: {(name,): float(state.stopped_at is not None) for name, state in states.items()},
        gauges.PAUSED: {(name,): seconds(now, state.blocked_until) for name, state in states.items()},
        gauges.BREAKER: {(name,): float(state.opened_at is not None) for name, state in states.items()},
        gauges.RATE: {(name,): min(known) for name, known in rates.items() if known},
        gauges.CONCURRENCY: {(name,): float(rule.concurrency) for name, rule in every.items()},
    }
    shown = {series: value for series, value in counts.items() if _is_shown(series, rules, targets)}
    return Page({**stored, **values}, shown)


def _is_shown(series: Series, rules: BudgetRules, targets: Collection[str]) -> bool:
    """Whether this release has the metric, and the configuration the names in its labels."""
    metric = _BY_NAME.get(series.metric)
    if metric is None or len(metric.labels) != len(series.labels):
        return False
    named: Mapping[str, Collection[str]] = {
        "account": rules.accounts,
        "channel": rules.channels,
        "target": targets,
        "source": [*(f"account/{name}" for name in rules.accounts), *(f"sender/{n}" for n in rules.channels)],
    }
    return all(
        name not in named or value in named[name] for name, value in zip(metric.labels, series.labels, strict=True)
    )


_BY_NAME = {metric.name: metric for metric in COUNTED}


# A second scrape within this time gets the same page, and the database is not asked.
KEPT_SECONDS = 1.0


class MetricsRoute:
    """Belongs to one loop."""

    def __init__(self, shared: Shared) -> None:
        keys = [key.reveal() for key in shared.parts.settings.section(Metrics).keys]
        self._keys = [key if is_hash(key) else hash_of(key) for key in keys]
        self._shared = shared
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
                        page: Page = await self._shared.in_thread(partial(page_now, self._shared.parts))
                    self._outage.over("the database is back: metrics are read")
                except sa.exc.OperationalError as error:
                    page = UNREACHABLE
                    what = "the database cannot be used, metrics are not read"
                    self._outage.lasts(what, monotonic(), why=reason(error))
                self._page = (monotonic(), page)
            return self._page[1]


def page_now(parts: Parts) -> Page:
    """What a scrape shows now. Blocks."""
    rules, targets, now = parts.budget_rules, parts.targets, parts.clock()
    return page_of(*read(parts.database, rules, targets, now=now), parts.budgets.all(), rules, targets, now=now)


def _add(made: web.Application, shared: Shared) -> None:
    made.router.add_get("/metrics", MetricsRoute(shared).get)


ROUTES = FeatureRoutes(_add)
