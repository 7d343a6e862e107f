"""What every provider adapter promises. Adapters are pure: they build a request and read an answer.

The call between the two is `worker.http.client`'s. So an adapter is tested with bytes, and a new one is a
module with these functions and a table of answers (docs/adding-a-provider.md).
"""

from datetime import datetime, timedelta
from typing import Protocol

from worker.domain.model.customers import Customer, FieldProblem
from worker.domain.model.endings import Kind, Problem
from worker.domain.model.reconciliation import Listed, Listing
from worker.domain.model.sessions import Session, SessionRequest
from worker.http.messages import Broken, HttpAnswer, HttpRequest

# The words that an adapter is written in, from one place.
__all__ = ["Broken", "HttpAnswer", "HttpRequest", "Listed", "Listing", "NoLookUp", "Provider"]


class Provider(Protocol):
    """One account's endpoint. Built once per process from the account's settings; holds no connection."""

    @property
    def lifetime(self) -> timedelta | None:
        """How long a session's link lives as asked for; None where the vendor decides."""

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        """Why this endpoint cannot serve the customer; empty when it can. Nothing is sent to find out."""

    def build(self, request: SessionRequest) -> HttpRequest:
        """The request that opens a session.

        Built again with the same credentials it has the same headers: by them a caller sees that a credential has
        been replaced since.
        """

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

    @property
    def no_look_up(self) -> str:
        """Why a call whose answer was lost cannot be looked up, for the person who decides; "" where it can be."""

    def look_up(self, request: SessionRequest, *, page: int) -> HttpRequest | None:
        """The request for a page, from 1, of all sessions that the provider has of the customer; None: it lists none.

        Always to the address that the account is configured with: a link in an answer is never followed.
        """

    def read_look_up(self, answer: HttpAnswer, request: SessionRequest, *, now: datetime) -> Listing | Problem:
        """The page in the answer, or what was wrong. Never raises on what a provider sends.

        A Problem that concerns the account only where every other call would fare the same; a listing that this
        account may not read is BAD_INPUT.
        """


class NoLookUp:
    """For an endpoint that documents no listing of what it has opened. `no_look_up` says so in words."""

    no_look_up = "the provider documents no listing of the sessions that it has opened"

    def look_up(self, request: SessionRequest, *, page: int) -> HttpRequest | None:
        return None

    def read_look_up(self, answer: HttpAnswer, request: SessionRequest, *, now: datetime) -> Listing | Problem:
        return Problem(Kind.BAD_INPUT, self.no_look_up)
