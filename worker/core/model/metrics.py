"""The metrics that processes count: name, labels and what each says. The feature `metrics` has those that it reads.

A label's values come from the configuration (accounts, channels, targets) or from a fixed list of words (outcomes,
states). None comes from outside, so that no stranger can add a series: no customer, address, host or path.

The counts of one process, until they are added to the database's. Pure, and safe for threads.

The hot path pays for a count what a lock and an addition cost: well under a microsecond.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import NamedTuple

# Bounds in seconds: of calls over the network, and of transactions.
CALL = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
FLUSH = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
SHARE = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


class Type(StrEnum):
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


class Metric(NamedTuple):
    """`name` is without the prefix; a counter's ends in `_total`. `bounds` are a histogram's."""

    type: Type
    name: str
    labels: tuple[str, ...]
    says: str
    bounds: tuple[float, ...] = ()


_counter = partial(Metric, Type.COUNTER)
_histogram = partial(Metric, Type.HISTOGRAM)

# Counted in each process, and added up in the database.
CALLS = _counter("calls_total", ("account", "outcome"), "Calls to the provider whose results are written.")
CALL_SECONDS = _histogram("call_seconds", ("account",), "How long a call to the provider took.", CALL)
MESSAGES = _counter("messages_total", ("channel", "outcome"), "Hand-overs of messages whose results are written.")
MESSAGE_SECONDS = _histogram("message_seconds", ("channel",), "How long a hand-over to the sender took.", CALL)
FRESHNESS = _histogram(
    "freshness_ratio", ("channel",), "The part of the link's life that was left when its message was sent.", SHARE
)
FLUSH_SECONDS = _histogram(
    "flush_seconds",
    ("step", "kind"),
    "How long a transaction of a dispatcher took. `kind` claim: it claimed rows; results: it only wrote results.",
    FLUSH,
)
EVENTS = _counter("events_total", ("door", "outcome"), "Events that came in, by `web` or `bus`.")
WEBHOOKS = _counter("webhooks_total", ("source", "outcome"), "Webhooks and callbacks that came in.")
PROCESSED = _counter("webhooks_processed_total", ("source", "state"), "Webhooks and callbacks that were processed.")
PUBLISHED = _counter("published_total", ("target", "outcome"), "Outgoing events, by what the target said.")
ANSWERS = _counter("http_answers_total", ("route", "status"), "Answers of `web`, by route and status.")
ANSWER_SECONDS = _histogram("http_seconds", ("route",), "How long an answer of `web` took.", CALL)


SUM, BEYOND = "sum", "+Inf"


class Series(NamedTuple):
    """One number: a counter's, or of a histogram one bucket's or the sum. `labels` are in the metric's order."""

    metric: str
    labels: tuple[str, ...]
    bucket: str = ""


class Meters:
    """Counts of this process since its start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Series, float] = {}
        self._observers: dict[Series, Observer] = {}
        self._stored: dict[Series, float] = {}

    def add(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        series = Series(metric.name, labels)
        with self._lock:
            self._counts[series] = self._counts.get(series, 0) + amount

    def observer(self, metric: Metric, *labels: str) -> "Observer":
        """What observes values of this histogram. To be kept where many values come."""
        series = Series(metric.name, labels)
        with self._lock:
            return self._observers.setdefault(series, Observer(metric.bounds))

    def news(self) -> dict[Series, float]:
        """What was counted since the last `stored`."""
        with self._lock:
            now = dict(self._counts)
            for series, observer in self._observers.items():
                now |= {series._replace(bucket=bucket): value for bucket, value in observer.read().items()}
        return {series: new for series, value in now.items() if (new := value - self._stored.get(series, 0))}

    def stored(self, news: Mapping[Series, float]) -> None:
        """These are in the database."""
        for series, value in news.items():
            self._stored[series] = self._stored.get(series, 0) + value


class Observer:
    """One histogram: how many values lie in each bucket, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._lock = threading.Lock()
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def __call__(self, value: float) -> None:
        place = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[place] += 1
            self._sum += value

    def read(self) -> dict[str, float]:
        """By bucket, each without those below it."""
        with self._lock:
            named = zip([*map(bucket_of, self._bounds), BEYOND], self._counts, strict=True)
            return {**{bucket: float(count) for bucket, count in named if count}, SUM: self._sum}


def bucket_of(bound: float) -> str:
    return f"{bound:g}"


Observe = Callable[[float], None]


class WorkMeter(NamedTuple):
    """What a dispatcher counts, in seconds: each call, and each transaction that claimed rows or wrote results."""

    called: Observe
    claimed: Observe
    wrote: Observe
