"""Faults on demand: what goes wrong, how often, and a draw that a seed makes repeatable; how long the sandbox waits
before it answers; and rate limits as a provider enforces them. Each credential has a token bucket that holds one
second's rate; of an hourly or daily limit, the calls in any hour or day are counted.
"""

import math
import random
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Generic, Protocol, TypeVar

from onboarding_sandbox.wire import ENDPOINTS, HTTP_ENDPOINTS, SMTP, TEXTING, Endpoint


class Shared(Protocol):
    @property
    def share(self) -> float: ...


S = TypeVar("S", bound=Shared)


def drawn(among: Iterable[S], point: float) -> S | None:
    """The one in whose share the point lies, from 0 to 1; None: beyond all."""
    for one in among:
        point -= one.share
        if point < 0:
            return one
    return None


STATUSES = ("401", "402", "403", "408", "429", "500", "502", "503", "504")
# iDenfy documents its hourly quota as a 400; no other provider does.
TOO_MANY_AS_400 = "400-too-many"
IDENFY = "idenfy-"  # the names of its endpoints begin with it
BEFORE = ("drop-before",)
# The session is opened and the answer is complete, but one value in it is wrong.
SPOILT = ("past-expiry", "strange-link", "wrong-token")
AFTER = ("drop-after", "half-body", *SPOILT)
EITHER = (*STATUSES, TOO_MANY_AS_400, "hang", "html", "huge", "redirect")
KINDS = (*EITHER, *BEFORE, *AFTER)
# Split only before a known option: a Retry-After may be an HTTP date, which contains a comma.
_OPTION = re.compile(r",\s*(retry-after|endpoint|processed)=")

EXPECTED = (
    'expected KIND:SHARE with options, like "429:0.05,retry-after=1", "500:0.01,endpoint=idenfy-kyc" or '
    f'"hang:0.001"; KIND is one of {", ".join(KINDS)}'
)
EXPECTED_SMTP = (
    'expected KIND:SHARE, like "450:0.05", "554:0.01,at=data" or "drop-after:0.01"; '
    "KIND is an SMTP code from 400 to 599, drop-before or drop-after"
)


@dataclass(frozen=True)
class Fault:
    """One way in which a share of the calls goes wrong. `share` is from 0 to 1. `endpoint` None: every endpoint of the
    identity providers. `processed`: the session is created (and charged) although the caller does not learn of it.
    `retry_after` is sent as given."""

    kind: str
    share: float
    endpoint: str | None = None
    retry_after: str | None = None
    processed: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(EXPECTED)
        _check_share(self.share)
        if self.endpoint is not None and self.endpoint not in HTTP_ENDPOINTS:
            raise ValueError(f"endpoint is one of {', '.join(HTTP_ENDPOINTS)}")
        if self.kind == TOO_MANY_AS_400 and self.endpoint is not None and not self.endpoint.startswith(IDENFY):
            raise ValueError(f"{TOO_MANY_AS_400} is iDenfy's; for {self.endpoint} use 429")
        if self.retry_after is not None and not re.fullmatch(r"[\x20-\x7e]*", self.retry_after):
            raise ValueError("retry-after is one line of ASCII")
        if self.kind in AFTER:
            object.__setattr__(self, "processed", True)
        elif self.kind in BEFORE and self.processed:
            raise ValueError(f"{self.kind} is never processed")

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Read `429:0.05,retry-after=1`. Raises ValueError with what is expected."""
        head, *rest = _OPTION.split(text.strip())
        kind, share = _kind_and_share(head, EXPECTED)
        options = dict(zip(rest[::2], rest[1::2], strict=True))
        processed = options.get("processed", "no")
        if processed not in ("yes", "no"):
            raise ValueError('expected "processed=yes" or "processed=no"')
        if processed == "no" and "processed" in options and kind in AFTER:
            raise ValueError(f"{kind} is always processed")
        return cls(kind, share, options.get("endpoint"), options.get("retry-after"), processed == "yes")

    def concerns(self, endpoint: str) -> bool:
        if self.kind == TOO_MANY_AS_400 and not endpoint.startswith(IDENFY):
            return False
        return self.endpoint == endpoint or (self.endpoint is None and endpoint not in TEXTING)


@dataclass(frozen=True)
class SmtpFault:
    """One way in which a share of the messages goes wrong; `at` is the command that is refused: rcpt or data."""

    kind: str
    share: float
    at: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("drop-before", "drop-after"):
            if not re.fullmatch(r"[45]\d\d", self.kind):
                raise ValueError(EXPECTED_SMTP)
            # Servers refuse these at RCPT: the address, or every sender for a while (greylisting).
            at = self.at or ("rcpt" if self.kind in ("450", "550", "551", "553") else "data")
            object.__setattr__(self, "at", at)
            if at not in ("rcpt", "data"):
                raise ValueError('expected "at=rcpt" or "at=data"')
        elif self.at:
            raise ValueError(f"at= does not go with {self.kind}")
        _check_share(self.share)

    @classmethod
    def parse(cls, text: str) -> "SmtpFault":
        """Read `450:0.05`. Raises ValueError with what is expected."""
        head, _, at = text.strip().partition(",at=")
        kind, share = _kind_and_share(head, EXPECTED_SMTP)
        return cls(kind, share, at)


def _kind_and_share(text: str, expected: str) -> tuple[str, float]:
    kind, colon, share = text.partition(":")
    if not colon or not re.fullmatch(r"\d+(\.\d+)?|\.\d+", share.strip()):
        raise ValueError(expected)
    return kind.strip(), float(share)


def _check_endpoint(endpoint: str | None, known: Iterable[str]) -> None:
    if endpoint is not None and endpoint not in known:
        raise ValueError(f"the endpoint is one of {', '.join(known)}")


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError("the share is a number from 0 to 1, such as 0.05 for one call in twenty")


class Draw(Generic[S]):
    """Draws the faults of one endpoint, one random number a call: a seed repeats the faults in their order."""

    def __init__(self, name: str, faults: Iterable[S], seed: int | None) -> None:
        self._faults, self._name, self._seed = tuple(faults), name, seed
        if sum(fault.share for fault in self._faults) > 1 + 1e-9:
            raise ValueError(f"the shares of the faults of {name} add up to more than 1")
        self.restart()

    def restart(self) -> None:
        """Begin the sequence again. Each endpoint has its own: calls to one endpoint do not shift another's faults."""
        self._random = random.Random(None if self._seed is None else f"{self._seed}/{self._name}")

    def next(self) -> S | None:
        return drawn(self._faults, self._random.random()) if self._faults else None


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
        _check_endpoint(self.endpoint, HTTP_ENDPOINTS)

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
    # A second more, because the header has no fractions: the date must not be too early.
    date = format_datetime(now + timedelta(seconds=seconds + 1), usegmt=True)
    return {"seconds": str(seconds), "date": date, "garbage": "in a little while"}.get(style)


@dataclass(frozen=True)
class Latency:
    """The wait of one endpoint, or (None) of all endpoints of the identity providers that have no wait of their own."""

    wait: timedelta
    endpoint: str | None = None

    def __post_init__(self) -> None:
        _check_endpoint(self.endpoint, ENDPOINTS)

    @classmethod
    def parse(cls, text: str) -> "Latency":
        """Read `80ms` or `idenfy-kyc=8s`. Raises ValueError with what is expected."""
        match = re.fullmatch(r"(?:([a-z0-9-]+)=)?(\d+(?:\.\d+)?)\s?(ms|s|m)", text.strip())
        if not match:
            raise ValueError('expected a time like "80ms", "1.5s" or "idenfy-kyc=8s"')
        return cls(timedelta(seconds=float(match[2]) * UNITS[match[3]]), match[1])


def wait_of(endpoint: str, latencies: tuple[Latency, ...]) -> float:
    """Seconds to wait at the endpoint. Its own latency wins over the general one; of several the last one wins."""
    own = [one for one in latencies if one.endpoint == endpoint]
    general = [one for one in latencies if one.endpoint is None and endpoint not in SENDING]
    return next((one.wait.total_seconds() for one in reversed([*general, *own])), 0.0)
