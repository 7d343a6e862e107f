"""What the core asks of the adapters that it is given: of a provider's endpoint, of a sender, and of what makes calls.

Their authors import these from the contracts next to the adapters: `onboarding_worker.providers.contract`,
`onboarding_worker.senders.contract`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from onboarding_worker.core.model.customers import Customer, FieldProblem
from onboarding_worker.core.model.endings import Problem
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite
from onboarding_worker.core.model.sessions import Session, SessionRequest
from onboarding_worker.core.rules.reconciliation import Listing, Nothing, Unmatched


class Http(Protocol):
    """Makes calls: `onboarding_worker.http.client`."""

    async def call(
        self,
        request: HttpRequest,
        *,
        timeout: timedelta,  # noqa: ASYNC109
        may_write: MayWrite | None = None,
    ) -> HttpAnswer | Broken: ...


class Provider(Protocol):
    """One account's endpoint. Built once per process from the account's settings; holds no connection."""

    @property
    def lifetime(self) -> timedelta | None:
        """The link lifetime that the account's requests ask for; None if the vendor decides."""

    def lifetime_with(self, parameters: Mapping[str, Any]) -> timedelta | None:
        """The same for a row with these parameters of its own (`providers.facts`)."""

    @property
    def may_return_earlier(self) -> bool:
        """True if a call may return a token that an earlier call has opened: its link has aged then."""

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        """Why this endpoint cannot serve the customer; empty if it can. The check sends nothing."""

    def build(self, request: SessionRequest) -> HttpRequest:
        """The request that opens a session.

        The same credentials give the same headers, so the caller can compare headers to see that a credential was
        replaced.
        """

    def read(
        self, answer: HttpAnswer, request: SessionRequest, *, issued_at: datetime, now: datetime
    ) -> Session | Problem:
        """The session in the answer, or the Problem. Never raises on a provider's bytes.

        `issued_at` is the time just before the request was written (aware UTC): a lifetime given as a
        duration counts from it, so the expiry is never too late. `now` is the time of reading, for dates in headers.
        """

    def broken(self, failure: Broken, request: SessionRequest) -> Problem:
        """The Problem of a call without an answer: surely not carried out, or unknown."""

    def repeatable(self, request: SessionRequest) -> bool:
        """True if the same request may be sent again without a second session or a second charge."""

    def reissue_at(self, expires_at: datetime) -> datetime:
        """The earliest useful time to ask for another session, for a customer with a session until `expires_at`."""

    def reload_credentials(self) -> bool:
        """Read secrets from their files again, after a 401. True if any has changed."""

    @property
    def no_look_up(self) -> str:
        """Why a call with an unknown outcome cannot be reconciled, for the operator; "" if it can be."""

    def look_up(self, request: SessionRequest, *, page: int) -> HttpRequest | None:
        """The request for one page (from 1) of the customer's sessions at the provider; None if it has no such list.

        The request always goes to the account's configured address: a link in an answer is never followed.
        """

    def read_look_up(self, answer: HttpAnswer, request: SessionRequest, *, now: datetime) -> Listing | Problem:
        """The page in the answer, or the Problem. Never raises on a provider's bytes.

        The Problem stops or pauses the account only if every other call would fail too. A listing that this account
        may not read is BAD_INPUT. No Problem is UNKNOWN: a look-up changes nothing, so it is made again.
        """


@dataclass(repr=False)  # not frozen: see `model.customers`
class Message:
    """One rendered invitation. Its fields are personal or secret, so no repr shows them.

    `key` identifies the invitation for ever (the left part of its Message-ID). Every repeat has the same key; a preview
    has none.
    """

    key: str
    at: datetime  # when its first hand-over was written down, aware: the Date of every repeat, too
    to: str  # an address, or an E.164 number
    language: str  # BCP 47: the locale of the words, which may be another than the customer's
    subject: str  # of a mail
    text: str
    html: str = ""  # "": its template has none
    valid_for: timedelta | None = None  # the remaining life of its link, if known
    brand: str = ""  # whose address it is from; "": the default one's
    is_test: bool = False  # a person has asked for it, to look at: a mail says so in its head
    digest: str = ""  # of the files and the settings that it was made from: nothing of a person
    segments: int = 1  # the texts that a text message is charged as

    def __repr__(self) -> str:
        return f"Message(key={self.key!r}, …)"


@dataclass(frozen=True)
class Receipt:
    """The server accepted the message. `reference`: the server's id of the message (Twilio's sid), if it gave one, as
    its delivery reports have it. Of a longer one the first 100 characters are kept and compared."""

    reference: str = ""


class Sender(Protocol):
    """One channel. Holds its connections; `close` ends them."""

    def repeatable(self) -> bool:
        """True if a message with an unknown outcome may be sent again (email: under the same Message-ID)."""

    async def preflight(self) -> Problem | None:
        """Log in and hand nothing over, within the sender's own time-out. Costs nothing.

        Returns the Problem that each message would have: refused credentials, or a server that cannot be reached. None:
        the sender answers, or its answer says nothing about messages.
        """

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        """Hand the message over within the sender's own time-out. A refusal gives a Problem, never an exception.

        `may_write` is asked when there is a connection, directly before the message is handed over; again if that
        connection proves dead and another one had to be opened. If it says no, no message is handed over, and whatever
        is returned does not count. None: the message may leave at any time.
        """

    @property
    def no_look_up(self) -> str:
        """Why a message with an unknown outcome cannot be reconciled; "" if it can be."""

    async def look_up(
        self, to: str, link: str, *, since: datetime, known: frozenset[str]
    ) -> Receipt | Nothing | Unmatched | Problem:
        """Look for the message with this link among those accepted since `since`, within the sender's own time-out.

        `known` are the references of messages to the same customer that have their receipts. Unmatched are messages
        that may or may not be the one with this link.
        """

    async def close(self) -> None:
        """Close kept connections."""
