"""A provider, a sender and two transports without a network, for tests of the code that calls them.

    http = FakeHttp([HttpAnswer(429, {"retry-after": "1"}), HANG])   # then: sessions
    provider = FakeProvider()

The first two keep the contract: the same tests run over them and over the real adapters.
"""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from onboarding_worker.adapters.bodies import BadAnswer, json_object, retry_after, text
from onboarding_worker.core.model.customers import Customer, FieldProblem
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import MayWrite
from onboarding_worker.core.model.sessions import ExpirySource, Session, SessionRequest
from onboarding_worker.core.model.states import SessionState
from onboarding_worker.core.rules.reconciliation import Nothing, Unmatched
from onboarding_worker.providers.account import LONGEST_LINK, https_link
from onboarding_worker.providers.contract import Broken, HttpAnswer, HttpRequest, Listed, Listing
from onboarding_worker.senders.contract import TOO_LATE, Message, Receipt

LONGEST_WAIT = timedelta(hours=1)
KINDS = {
    400: Kind.BAD_INPUT,
    401: Kind.AUTH,
    402: Kind.OUT_OF_CREDIT,
    403: Kind.AUTH,  # as of a firewall on the way
    409: Kind.CONFLICT,
    429: Kind.RATE_LIMITED,
    500: Kind.TRANSIENT,
}

# What the statuses in its list mean, as at iDenfy; others say nothing new.
STATUSES = {
    "EXPIRED": (SessionState.EXPIRED, ""),
    "DELETED": (SessionState.FAILED, ""),
    "APPROVED": (SessionState.COMPLETED, "approved"),
    "REVIEWING": (SessionState.STARTED, "review"),
}


class Hang(Enum):
    """A call without an answer: it waits until it is cancelled, or until `FakeHttp.release`."""

    HANG = "hang"


HANG = Hang.HANG
Outcome = HttpAnswer | Broken | Hang
Compute = Callable[[HttpRequest], Outcome | Awaitable[Outcome]]


@dataclass
class FakeProvider:
    """A simple provider. `answers` are returned first, whatever the transport received."""

    answers: list[Session | Problem] = field(default_factory=list)
    lifetime: timedelta | None = timedelta(days=7)
    safe_to_repeat: bool = False
    refused: Callable[[Customer], list[FieldProblem]] = lambda _: []
    reloads: list[bool] = field(default_factory=list)  # the results of the next reloads of the credentials
    # True: it lists a customer's sessions. The answer to a GET is then {"sessions": [[reference, status], …]}.
    lists: bool = False
    gives: timedelta | None = None  # how long its links live; None: as long as was asked for
    may_return_earlier: bool = False
    opens_early: bool = False  # another session before the end of the one before
    key: int = 1  # the credential that is sent; a reload that returns True moves to the next

    def lifetime_with(self, parameters: Mapping[str, Any]) -> timedelta | None:
        """A row asks for a lifetime as one for iDenfy KYC does, in seconds."""
        seconds = parameters.get("expiryTime")
        return timedelta(seconds=seconds) if isinstance(seconds, int) else self.lifetime

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        return self.refused(customer)

    def build(self, request: SessionRequest) -> HttpRequest:
        body = {"customer_id": request.customer.customer_id, "external_ref": request.external_ref}
        return HttpRequest("POST", "https://provider.test/sessions", {"key": str(self.key)}, json.dumps(body).encode())

    def read(
        self, answer: HttpAnswer, request: SessionRequest, *, issued_at: datetime, now: datetime
    ) -> Session | Problem:
        if self.answers:
            return self.answers.pop(0)
        if not 200 <= answer.status < 300:
            kind = KINDS.get(answer.status, Kind.UNKNOWN)
            wait = retry_after(answer.headers, now, longest=LONGEST_WAIT)
            unclear = answer.status == 403
            return Problem(kind, f"HTTP {answer.status}", status=answer.status, retry_after=wait, unclear=unclear)
        try:
            found = json_object(answer.body)
            link = https_link(text(found, "link", most=LONGEST_LINK), ("verify.test",))  # as real adapters check theirs
            if link is None:
                raise BadAnswer("link in the answer is not an https address of the provider")
            return Session(
                token=text(found, "token"),
                link=link,
                reference=text(found, "reference"),
                expires_at=issued_at + (self.gives or self.lifetime_with(request.parameters) or timedelta(hours=1)),
                expiry_source=ExpirySource.ANSWER,
            )
        except BadAnswer as error:
            return Problem(self.broken(Broken(True, ""), request).kind, str(error), status=answer.status)

    def broken(self, failure: Broken, request: SessionRequest) -> Problem:
        unknown = failure.sent and not self.safe_to_repeat
        return Problem(Kind.UNKNOWN if unknown else Kind.TRANSIENT, failure.detail)

    def repeatable(self, request: SessionRequest) -> bool:
        return self.safe_to_repeat

    def reissue_at(self, expires_at: datetime) -> datetime:
        return expires_at - timedelta(days=365) if self.opens_early else expires_at

    @property
    def no_look_up(self) -> str:
        return "" if self.lists else "the fake provider has no list of its sessions"

    def look_up(self, request: SessionRequest, *, page: int) -> HttpRequest | None:
        url = f"https://provider.test/sessions?customer_id={request.customer.customer_id}&page={page}"
        return HttpRequest("GET", url, {"key": str(self.key)}) if self.lists else None

    def read_look_up(self, answer: HttpAnswer, request: SessionRequest, *, now: datetime) -> Listing | Problem:
        if not self.lists:
            return Problem(Kind.BAD_INPUT, self.no_look_up)
        if answer.status != 200:
            wait = retry_after(answer.headers, now, longest=LONGEST_WAIT)
            kind = KINDS.get(answer.status, Kind.TRANSIENT)
            return Problem(kind, f"HTTP {answer.status}", status=answer.status, retry_after=wait)
        try:
            found = json_object(answer.body)
            listed = tuple(
                Listed(reference, status, *STATUSES.get(status, (None, ""))) for reference, status in found["sessions"]
            )
            return Listing(listed, more=bool(found.get("more")))
        except (BadAnswer, KeyError, TypeError, ValueError):
            return Problem(Kind.TRANSIENT, "the answer has no sessions", status=answer.status)

    def reload_credentials(self) -> bool:
        changed = self.reloads.pop(0) if self.reloads else False
        self.key += changed
        return changed


class FakeHttp:
    """Replaces `Http` in tests. Returns the outcomes in order, or computes each from its request; then sessions.
    `requests` has the received requests in order, `timeouts` theirs; `in_flight` and `most_in_flight` count calls."""

    def __init__(self, outcomes: Iterable[Outcome] | Compute = ()) -> None:
        self._compute = outcomes if callable(outcomes) else None
        self.answers = [] if callable(outcomes) else list(outcomes)
        self._released = asyncio.Event()
        self._arrived = asyncio.Event()
        self.requests: list[HttpRequest] = []
        self.timeouts: list[timedelta] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def call(
        self,
        request: HttpRequest,
        *,
        timeout: timedelta,  # noqa: ASYNC109  # as Http's
        may_write: MayWrite | None = None,
    ) -> HttpAnswer | Broken:
        if may_write is not None and not may_write(False):
            return Broken(sent=False, detail="not to be written")
        self.requests.append(request)
        self.timeouts.append(timeout)
        number = len(self.requests)
        self.in_flight += 1
        self._arrived.set()
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)  # lets other coroutines run, as a real call does
            if self._compute is not None:
                computed = self._compute(request)
                outcome = await computed if inspect.isawaitable(computed) else computed
            else:
                outcome = self.answers.pop(0) if self.answers else self.session(number)
            if isinstance(outcome, Hang):
                await self._released.wait()
                return Broken(sent=True, detail="time-out before the answer was complete")
            return outcome
        finally:
            self.in_flight -= 1

    async def received(self, count: int) -> None:
        """Wait until `count` requests in all have arrived."""
        while len(self.requests) < count:
            self._arrived.clear()
            await self._arrived.wait()

    def release(self) -> None:
        """End every call that hangs with a time-out."""
        self._released.set()

    @staticmethod
    def listing(*sessions: tuple[str, str], more: bool = False) -> HttpAnswer:
        """The answer of a FakeProvider that lists these (reference, status)."""
        return HttpAnswer(200, {}, json.dumps({"sessions": sessions, "more": more}).encode())

    def session(self, number: int) -> HttpAnswer:
        """The answer that opens session `number` at a FakeProvider."""
        token = f"token-{number:08}"
        body = {"token": token, "link": f"https://verify.test/{token}", "reference": f"session-{number}"}
        return HttpAnswer(201, {"content-type": "application/json"}, json.dumps(body).encode())


class FakeSender:
    """Returns `answers` in order, one for each message, and then receipts. `messages` has the accepted messages; a
    message that got a Problem is in `refused`. `found` has the results of the look-ups in order, and after them they
    find nothing; None: it has no look-up. `asked` has the links that look-ups were made for. `preflights` are the
    results of log-ins, and then all are accepted; `logins` counts them."""

    def __init__(
        self,
        answers: Iterable[Receipt | Problem] = (),
        *,
        hold_unknown: bool = False,
        found: Iterable[Receipt | Nothing | Unmatched | Problem] | None = None,
        preflights: Iterable[Problem | None] = (),
    ) -> None:
        self.messages: list[Message] = []
        self.refused: list[Message] = []
        self.closed = False
        self._answers: Iterator[Receipt | Problem] = iter(answers)
        self._hold_unknown = hold_unknown
        self._found = None if found is None else iter(found)
        self.asked: list[str] = []
        self._preflights = iter(preflights)
        self.logins = 0

    def repeatable(self) -> bool:
        return not self._hold_unknown

    async def preflight(self) -> Problem | None:
        self.logins += 1
        return next(self._preflights, None)

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        if may_write is not None and not may_write(False):
            return TOO_LATE
        answer = next(self._answers, None) or Receipt(f"fake-{len(self.messages) + 1}")
        (self.refused if isinstance(answer, Problem) else self.messages).append(message)
        return answer

    @property
    def no_look_up(self) -> str:
        return "the fake sender has no look-up" if self._found is None else ""

    async def look_up(
        self, to: str, link: str, *, since: datetime, known: frozenset[str]
    ) -> Receipt | Nothing | Unmatched | Problem:
        self.asked.append(link)
        if self._found is None:
            return Problem(Kind.BAD_INPUT, self.no_look_up)
        return next(self._found, Nothing())

    async def close(self) -> None:
        self.closed = True


class Recorder(FakeHttp):
    """Keeps the calls of a service's sender. Answers with `answers` in order, then with `otherwise`."""

    otherwise = HttpAnswer(503, {}, b"")  # of a service that is busy

    def __init__(self, *answers: HttpAnswer | Broken) -> None:
        super().__init__(answers)
        self.closed = 0

    def session(self, number: int) -> HttpAnswer:
        return self.otherwise

    async def close(self) -> None:
        self.closed += 1
