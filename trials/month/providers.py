"""The five endpoints without a network: the sandbox's own, behind what the worker makes its calls with.

Each account is another contract at a host of its own. What a provider would do is the sandbox's: it checks bodies and
credentials, hands the same token back (FrankieOne v2), refuses a second session beside a live one (iDenfy KYC). What is
added here is to complain: in a month without faults nobody has a reason to ask twice.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from multidict import CIMultiDict

from worker.http.messages import Broken, HttpAnswer, HttpRequest
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
    """A session as its provider knows it. `number` counts its customer's, from 1. `done`: the customer did its part."""

    account: str
    customer: int
    number: int
    opened: Opened
    done: bool = False

    def is_alive(self, now: datetime) -> bool:
        return not self.done and now < self.opened.expires_at


class Providers:
    """Stands in for `Http`. `complaints` says what no provider should have been asked."""

    def __init__(
        self,
        lifetimes: dict[str, timedelta],
        clock: Callable[[], datetime],
        *,
        who: Callable[[str], int],
    ) -> None:
        """`lifetimes` by account: what FrankieOne's vendor gives there. `who` tells a customer by the client's id."""
        self._clock = clock
        self._who = who
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
        self.opened: Callable[[Held], None] = lambda _held: None  # told of each session

    async def call(self, request: HttpRequest, *, timeout: timedelta) -> HttpAnswer | Broken:  # noqa: ASYNC109 -- as Http's
        await asyncio.sleep(ANSWERS_AFTER)
        self.asked += 1
        url = urlsplit(request.url)
        account = (url.hostname or "").partition(".")[0]
        endpoint = self._endpoints[account]
        # The sandbox serves all providers on one host, each under its name.
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", endpoint.route.removeprefix(f"/{endpoint.family}"))
        path = re.fullmatch(pattern, url.path)
        if path is None or request.method != endpoint.method:
            self.complaints.append(f"{account} was asked {request.method} of another address")
            return HttpAnswer(404, {}, b"")
        call = Call(self._clock(), request.url, CIMultiDict(request.headers), path.groupdict(), {}, request.body or b"")
        who = endpoint.credential(call)
        answer = who if isinstance(who, Answer) else self._served(account, endpoint, call)
        return HttpAnswer(answer.status, {"content-type": answer.content_type}, answer.encoded())

    def _served(self, account: str, endpoint: Endpoint, call: Call) -> Answer:
        client = endpoint.client(call)
        customer = self._who(client) if client is not None else -1
        before = self.sessions[customer]
        if any(held.done for held in before):
            self.complaints.append(f"{account} was asked for customer {customer}, who has finished")
        elif any(held.is_alive(call.now) for held in before):
            self.complaints.append(f"{account} was asked for customer {customer} while a session was alive")
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
