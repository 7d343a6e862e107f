"""How long the sandbox waits before it answers."""

import re
from dataclasses import dataclass
from datetime import timedelta

from onboarding_sandbox.wire import ENDPOINTS, SMTP, TEXTING

SENDING = (SMTP, *TEXTING)
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}  # in seconds


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
