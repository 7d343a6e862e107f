"""HTTP requests and answers as values.

Providers and SMS senders build and read these values; `onboarding_worker.http.client` makes the call in between.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# Called at most once, directly before a request or message is written. The argument says whether the call has waited
# for a connection, which may have taken long. The answer False: nothing is written. A call that has not waited is
# always written, and needs no answer.
MayWrite = Callable[[bool], bool]


@dataclass(repr=False)  # these two are not frozen: see `model.customers`
class HttpRequest:
    """One request, ready to send. `headers` contains the credential: never logged, no repr."""

    method: str
    url: str  # absolute, built from the account's base_url and the provider's documented path
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method}, …)"


@dataclass(repr=False)
class HttpAnswer:
    """One complete, bounded answer. `body` may contain a token: no repr.

    `headers` finds a name in lower case, and of a name that comes more than once the first value.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpAnswer({self.status}, {len(self.body)} bytes)"


@dataclass(frozen=True)
class Broken:
    """No answer. `sent`: the request was or may have been written, so it may have been carried out."""

    sent: bool
    detail: str  # names the failure ("connect timeout"), never an address or value


# Answers are a few hundred bytes, FrankieOne's with vendor parameters a few thousand.
LARGEST_ANSWER = 1024 * 1024
TOO_LARGE = Broken(sent=True, detail=f"answer larger than {LARGEST_ANSWER} bytes")
