"""How long the sandbox waits before it answers, and rate limits as a provider enforces them. Each credential has a
token bucket that holds one second's rate; of an hourly or daily limit, the calls in any hour or day are counted."""

import math
import re
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime

from onboarding_sandbox.wire import ENDPOINTS, HTTP_ENDPOINTS, SMTP, TEXTING, Endpoint

PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}  # in seconds
RETRY_AFTER = ("seconds", "date", "garbage", "none")

SENDING = (SMTP, *TEXTING)
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}  # in seconds
COUNTED_FROM = PERIODS["hour"]  # a limit of a shorter period has a bucket


@dataclass(frozen=True)
class RateLimit:
    """At most `count` calls in `period` seconds, at one endpoint or (None) at all of an identity provider together."""

    count: int
    endpoint: str | None = None
    period: int = 1

    def __post_init__(self) -> None:
        if self.endpoint is not None and self.endpoint not in HTTP_ENDPOINTS:
            raise ValueError(f"the endpoint is one of {', '.join(HTTP_ENDPOINTS)}")

    @classmethod
    def parse(cls, text: str) -> "RateLimit":
        """Read `50/second` or `frankieone-v2=5/second`. Raises ValueError with what is expected."""
        match = re.fullmatch(r"(?:([a-z0-9-]+)=)?([1-9]\d{0,8})/(second|minute|hour|day)", text.strip())
        if not match:
            raise ValueError('expected a limit like "50/second", "10000/hour" or "frankieone-v2=5/second"')
        return cls(int(match[2]), match[1], PERIODS[match[3]])

    def counter(self, now: datetime) -> "Bucket | Window":
        return Window(self) if self.period >= COUNTED_FROM else Bucket(self.count / self.period, now)


class Bucket:
    """A token bucket. It holds one second's rate, at least one call, and is full at first."""

    def __init__(self, rate: float, at: datetime) -> None:
        """`rate`: calls a second."""
        self.rate, self.most, self.level, self.at = rate, max(1.0, rate), max(1.0, rate), at

    def missing(self, now: datetime) -> float:
        """Seconds until one call fits; 0 when one does now. A billionth is a rounding error, not a call."""
        gained = (now - self.at).total_seconds() * self.rate
        self.level = min(self.most, self.level + max(gained, 0.0))
        self.at = now
        return 0.0 if self.level >= 1 - 1e-9 else (1 - self.level) / self.rate

    def take(self, _now: datetime) -> None:
        self.level -= 1


class Window:
    """Counts the calls of the period that ends now."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit, self._times = limit, deque[datetime]()

    def missing(self, now: datetime) -> float:
        """Seconds until one call fits; 0 when one does now."""
        period = timedelta(seconds=self._limit.period)
        while self._times and self._times[0] <= now - period:
            self._times.popleft()
        return 0.0 if len(self._times) < self._limit.count else (self._times[0] + period - now).total_seconds()

    def take(self, now: datetime) -> None:
        self._times.append(now)


class Limits:
    """All limits, counted for each credential."""

    def __init__(self, limits: tuple[RateLimit, ...]) -> None:
        self._limits = limits
        self._counters: dict[tuple[int, str, str], Bucket | Window] = {}

    def reset(self) -> None:
        self._counters.clear()

    def count(self, endpoint: Endpoint, credential: str, now: datetime) -> float:
        """Count one call. Returns 0, or how many seconds it came too early: such a call is not counted."""
        counters = []
        for index, limit in enumerate(self._limits):
            if limit.endpoint != endpoint.name and (limit.endpoint is not None or endpoint.name in TEXTING):
                continue
            key = (index, endpoint.family, credential)
            if key not in self._counters:
                self._counters[key] = limit.counter(now)
            counters.append(self._counters[key])
        wait = max((counter.missing(now) for counter in counters), default=0.0)
        if not wait:
            for counter in counters:
                counter.take(now)
        return wait


def retry_after(style: str, wait: float, now: datetime) -> str | None:
    """The Retry-After header for `wait` seconds, in one of the styles of RETRY_AFTER; None: no header."""
    seconds = max(1, math.ceil(wait))
    match style:
        case "seconds":
            return str(seconds)
        case "date":
            # A second more, because the header has no fractions: the date must not be too early.
            return format_datetime(now + timedelta(seconds=seconds + 1), usegmt=True)
        case "garbage":
            return "in a little while"
        case _:
            return None


@dataclass(frozen=True)
class Latency:
    """The wait of one endpoint, or (None) of all endpoints of the identity providers that have no wait of their own."""

    wait: timedelta
    endpoint: str | None = None

    def __post_init__(self) -> None:
        if self.endpoint is not None and self.endpoint not in ENDPOINTS:
            raise ValueError(f"the endpoint is one of {', '.join(ENDPOINTS)}")

    @classmethod
    def parse(cls, text: str) -> "Latency":
        """Read `80ms` or `idenfy-kyc=8s`. Raises ValueError with what is expected."""
        match = re.fullmatch(r"(?:([a-z0-9-]+)=)?(\d+(?:\.\d+)?)\s?(ms|s|m)", text.strip())
        if not match:
            raise ValueError('expected a time like "80ms", "1.5s" or "idenfy-kyc=8s"')
        return cls(timedelta(seconds=float(match[2]) * UNITS[match[3]]), match[1])


def wait_of(endpoint: str, latencies: tuple[Latency, ...]) -> float:
    """Seconds to wait at the endpoint. Its own latency wins over the general one; of several the last one wins."""
    seconds = 0.0
    for latency in sorted(latencies, key=lambda latency: latency.endpoint is not None):
        if latency.endpoint == endpoint or (latency.endpoint is None and endpoint not in SENDING):
            seconds = latency.wait.total_seconds()
    return seconds
