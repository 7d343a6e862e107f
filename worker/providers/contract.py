"""What every provider adapter promises. Adapters are pure: they build a request and read an answer.

The call between the two is `providers.http`'s. So an adapter is tested with bytes, and a new one is a
module with these functions and a table of answers (docs/adding-a-provider.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from worker.customers import Customer, FieldProblem
from worker.endings import Problem
from worker.sessions import Session, SessionRequest


@dataclass(frozen=True, repr=False)
class HttpRequest:
    """One request, ready for the wire. `headers` holds the credential: never logged, no repr."""

    method: str
    url: str  # absolute, built from the account's base_url and the provider's documented path
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method}, …)"


@dataclass(frozen=True, repr=False)
class HttpAnswer:
    """One answer, read whole and bounded. `headers` has lower-case names. `body` may hold a token: no repr."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpAnswer({self.status}, {len(self.body)} bytes)"


@dataclass(frozen=True)
class Broken:
    """No answer. `sent`: the request was, or may have been, written, so it may have been carried out."""

    sent: bool
    detail: str  # names the failure ("connect timeout"), never an address or value


class Provider(Protocol):
    """One account's endpoint. Built once per process from the account's settings; holds no connection."""

    @property
    def lifetime(self) -> timedelta | None:
        """How long a session's link lives as asked for; None where the vendor decides."""

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        """Why this endpoint cannot serve the customer; empty when it can. Nothing is sent to find out."""

    def build(self, request: SessionRequest) -> HttpRequest:
        """The request that opens a session."""

    def read(
        self, answer: HttpAnswer, request: SessionRequest, *, issued_at: datetime, now: datetime
    ) -> Session | Problem:
        """The session in the answer, or what was wrong. Never raises on what a provider sends.

        `issued_at` is the time just before the request was written (aware UTC): a lifetime given as a
        duration counts from it, which errs early. `now` is the time of reading, for dates in headers.
        """

    def broken(self, failure: Broken, request: SessionRequest) -> Problem:
        """What a call without an answer was: surely not done, or unknown."""

    def repeatable(self, request: SessionRequest) -> bool:
        """Whether the same request may be sent again without a second session or a second charge."""

    def reissue_at(self, expires_at: datetime) -> datetime:
        """The earliest time at which asking again makes sense for a customer with a session until `expires_at`."""

    def reload_credentials(self) -> bool:
        """Read secrets that come from files again, after a 401; whether any has changed."""
