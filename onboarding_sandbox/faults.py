"""Faults on demand: what goes wrong, how often, and a draw that a seed makes repeatable."""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic

from onboarding_sandbox.behaviour import S, drawn
from onboarding_sandbox.wire import HTTP_ENDPOINTS, TEXTING

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
    """One way in which a share of the calls goes wrong.

    `share` is from 0 to 1. `endpoint` None: every endpoint of the identity providers. `processed`: the session is
    created (and charged) although the caller does not learn of it. `retry_after` is sent as given.
    """

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
