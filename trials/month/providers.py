"""The five endpoints without a network: the sandbox's endpoints behind the worker's HTTP client.

Each account is another contract with its own host. The sandbox's code does what a provider does: it checks bodies and
credentials, returns the same token (FrankieOne v2), and refuses a second session while one is live (iDenfy KYC). This
module adds complaints: in a month without faults, no call may be made twice.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from trials.endpoints import addressed, as_http
from worker.http.messages import Broken, HttpAnswer, HttpRequest, MayWrite
from worker.sandbox.endpoints.frankieone import IndividualToken
from worker.sandbox.endpoints.frankieone_v1 import IdvalidateToken
from worker.sandbox.endpoints.idenfy import KycToken, Partner
from worker.sandbox.endpoints.idenfy_kyb import KybToken
from worker.sandbox.endpoints.opened import Opened, opened_by
from worker.sandbox.options import SandboxOptions
from worker.sandbox.wire import Answer, Call, Endpoint

ANSWERS_AFTER = 0.08  # seconds


@dataclass(eq=False)
class Held:
    """A session at its provider. `number` counts the customer's sessions from 1. `done`: the customer did its part."""

    account: str
    customer: int
    number: int
    opened: Opened
    done: bool = False

    def is_alive(self, now: datetime) -> bool:
        return not self.done and now < self.opened.expires_at


class Providers:
    """Replaces `Http`. `complaints` are calls that the worker must not make."""

    def __init__(
        self,
        lifetimes: dict[str, timedelta],
        clock: Callable[[], datetime],
        *,
        customer_of: Callable[[str], int],
    ) -> None:
        """`lifetimes`: the lifetime of FrankieOne's vendor, by account. `customer_of` finds a client id's customer."""
        self._clock = clock
        self._customer_of = customer_of
        self._endpoints: dict[str, Endpoint] = {}
        for name, lifetime in lifetimes.items():
            options = SandboxOptions(conflict=True, frankieone_lifetime=lifetime, clock=clock)
            match name:
                case "idenfy-kyc" | "idenfy-kyc-openapi":
                    self._endpoints[name] = KycToken(Partner(options))
                case "idenfy-kyb":
                    self._endpoints[name] = KybToken(Partner(options))
                case "frankieone-v1":
                    self._endpoints[name] = IdvalidateToken(options)
                case "frankieone-v2":
                    self._endpoints[name] = IndividualToken(options)
        self.asked = 0
        self.sessions: dict[int, list[Held]] = defaultdict(list)  # by customer, in the order of their opening
        self.by_token: dict[str, Held] = {}
        self.complaints: list[str] = []
        self.opened: Callable[[Held], None] = lambda _held: None  # called for each session

    async def call(
        self,
        request: HttpRequest,
        *,
        timeout: timedelta,  # noqa: ASYNC109 -- as Http's
        may_write: MayWrite | None = None,
    ) -> HttpAnswer | Broken:
        if may_write is not None:
            may_write(False)
        await asyncio.sleep(ANSWERS_AFTER)
        self.asked += 1
        account = (urlsplit(request.url).hostname or "").partition(".")[0]
        found_endpoint = addressed([self._endpoints[account]], request, self._clock())
        if found_endpoint is None:
            self.complaints.append(f"{account} got a {request.method} for another address")
            return HttpAnswer(404, {}, b"")
        endpoint, call = found_endpoint
        found = endpoint.credential(call)
        answer = found if isinstance(found, Answer) else self._served(account, endpoint, call)
        return as_http(answer)

    def _served(self, account: str, endpoint: Endpoint, call: Call) -> Answer:
        client = endpoint.client(call)
        customer = self._customer_of(client) if client is not None else -1
        before = self.sessions[customer]
        if any(held.done for held in before):
            self.complaints.append(f"{account} got a call for customer {customer}, who has finished")
        elif any(held.is_alive(call.now) for held in before):
            self.complaints.append(f"{account} got a call for customer {customer} while a session was live")
        answer = endpoint.serve(call)
        opened = opened_by(endpoint.name, call, answer)
        if opened is None:
            if answer.status >= 400:
                self.complaints.append(f"{account} refused customer {customer} with {answer.status}")
            return answer
        held = Held(account, customer, len(before) + 1, opened)
        before.append(held)
        self.by_token[opened.token] = held
        self.opened(held)
        return answer
