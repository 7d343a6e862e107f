"""The page of `GET /metrics`, from what the database says. prometheus-client writes it.

prometheus-client is loaded when the first page is made: other commands need not wait for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from worker.core.limits.budgets import BudgetRule, BudgetState
from worker.core.model.metrics import BEYOND, SUM, Metric, Series, Type, bucket_of
from worker.core.model.states import InvitationState
from worker.features.metrics import exported
from worker.features.metrics.exported import PREFIX
from worker.features.metrics.store.gauges import Configured, Gauges
from worker.reporting.store.processes import BEAT, SWEEP

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

        for metric in exported.READ:
            gauge = GaugeMetricFamily(PREFIX + metric.name, metric.says, labels=metric.labels)
            for labels, value in sorted(self.values.get(metric, {}).items()):
                gauge.add_metric(labels, value)
            yield gauge
        by_metric: dict[str, dict[tuple[str, ...], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        for series, value in self.counts.items():
            by_metric[series.metric][series.labels][series.bucket] = value
        for metric in exported.COUNTED:
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


UNREACHABLE = Page({exported.DATABASE_UP: {(): 0.0}}, {})


def page_of(gauges: Gauges, budgets: Mapping[str, BudgetState], configured: Configured, *, now: datetime) -> Page:
    """The page. What is no longer configured is left out."""

    def age(at: datetime | None) -> float:
        return max((now - at).total_seconds(), 0.0) if at is not None else 0.0

    rules = configured.rules
    states = {name: budgets.get(rule.name, BudgetState()) for name, rule in rules.items()}
    rates = {name: rate for name, rule in rules.items() if (rate := _rate(rule, states[name])) is not None}
    timers = {name: age(at) for name, at in gauges.timers.items()}
    caps = {name: rule.credits for name, rule in configured.accounts.items() if rule.credits is not None}
    values: dict[Metric, Values] = {
        exported.DATABASE_UP: {(): 1.0},
        exported.JOBS: _one(gauges.jobs.items()),
        exported.JOBS_WAITING: _one((name, gauges.waiting.get(name, 0)) for name in configured.accounts),
        exported.NOT_CONFIGURED: {(): float(_not_configured(gauges, configured))},
        exported.FIRST_MESSAGES: {(*pair,): float(number) for pair, number in gauges.messages.items()},
        exported.OLDEST_DUE: _labelled("issue", gauges.due_jobs, age) | _labelled("invite", gauges.due_messages, age),
        exported.CREDITS: _one((name, states[name].credits_used) for name in configured.accounts),
        exported.CREDITS_CAP: _one(caps.items()),
        exported.STOPPED: _one((name, state.stopped_at is not None) for name, state in states.items()),
        exported.PAUSED: _one((name, _left(state.blocked_until, now)) for name, state in states.items()),
        exported.BREAKER: _one((name, state.opened_at is not None) for name, state in states.items()),
        exported.RATE: _one(rates.items()),
        exported.PERMITS: _one((name, gauges.permits.get(rule.name, 0)) for name, rule in rules.items()),
        exported.CONCURRENCY: _one((name, rule.concurrency) for name, rule in rules.items()),
        exported.PROCESSES: _one(gauges.processes.items()),
        exported.BEAT_AGE: {(): timers[BEAT]} if BEAT in timers else {},
        exported.SWEEP_AGE: {(): timers[SWEEP]} if SWEEP in timers else {},
        exported.OUTBOX_AGE: _one((target, age(at)) for target, at in gauges.outbox.items()),
        exported.GIVEN_UP: _one((target, gauges.given_up.get(target, 0)) for target in configured.targets),
        exported.WEBHOOKS_AGE: {(): age(gauges.webhooks)},
        exported.WEBHOOKS_TO_CHECK: {(): float(gauges.webhooks_to_check)},
    }
    return Page(values, {series: value for series, value in gauges.counts.items() if _is_shown(series, configured)})


def _labelled(
    work: str, due: Mapping[str, datetime | None], age: Callable[[datetime | None], float]
) -> dict[tuple[str, ...], float]:
    return {(work, name): age(at) for name, at in due.items()}


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


def _left(until: datetime | None, now: datetime) -> float:
    return max((until - now).total_seconds(), 0.0) if until is not None else 0.0


def _rate(rule: BudgetRule, state: BudgetState) -> float | None:
    found = [rate for rate in (rule.rate, state.pace.rate) if rate is not None]
    return min(found, default=None)


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


_BY_NAME = {metric.name: metric for metric in exported.COUNTED}
