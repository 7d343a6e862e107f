"""The network between the worker processes and the outside: requests travel, arrive, are answered, and get lost.

A request leaves at once when it is made, whatever becomes of its process afterwards. The sandbox's endpoints answer it.
Faults strike at the four points of a call: sending, arriving, served, answered.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_plus, urlsplit
from uuid import UUID

from onboarding_sandbox.endpoints.frankieone import IndividualToken
from onboarding_sandbox.endpoints.idenfy import KybToken, KycListing, KycSession, KycToken, Partner
from onboarding_sandbox.endpoints.twilio import FetchAccount, ListTexts, SendText, Text
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.wire import (
    IDENFY_KYC,
    IDENFY_KYC_LIST,
    TWILIO,
    TWILIO_LIST,
    Answer,
    Endpoint,
    Opened,
    opened_by,
)
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite
from trials.endpoints import addressed, as_http
from trials.simulation.plan import LIFETIME, Person
from trials.simulation.records import Call, Kind
from trials.simulation.setting import PROVIDERS, names_of

if TYPE_CHECKING:
    from trials.simulation.play import Simulation
    from trials.simulation.process import WorkerProcess

Result = TypeVar("Result")
TRAVELS = (0.005, 0.08)  # seconds, one way
# In how many calls to a provider no connection is kept, and how many seconds opening one takes: DNS, TLS.
UNCONNECTED, CONNECTING = 0.1, (0.02, 1.5)
LINK = re.compile(r"token=([0-9a-f]{40})", re.IGNORECASE)
OWN_LINK = re.compile(r"/s/([A-Za-z0-9_-]{24})")
KINDS = {TWILIO: Kind.TEXT, TWILIO_LIST: Kind.LOOK_UP, IDENFY_KYC_LIST: Kind.LOOK_UP, "twilio-account": Kind.OTHER}


class Wire:
    def __init__(self, simulation: "Simulation", *, conflict: bool) -> None:
        """`conflict`: iDenfy refuses a second live session of a customer, as some of its accounts do."""
        self._simulation = simulation
        self._unused: Counter[tuple[int, str]] = Counter()  # connections that were opened for calls that came too late
        self._world = simulation.world
        options = SandboxOptions(
            conflict=conflict, frankieone_lifetime=timedelta(seconds=LIFETIME), clock=self._world.clock
        )
        texts: list[Text] = []
        self.partners = {name: Partner(options) for name in PROVIDERS if name != "au"}
        self._endpoints: dict[str, list[Endpoint]] = {
            "kyc": [KycToken(self.partners["kyc"]), KycListing(self.partners["kyc"])],
            "lt": [KycToken(self.partners["lt"]), KycListing(self.partners["lt"])],
            "kyb": [KybToken(self.partners["kyb"])],
            "au": [IndividualToken(options)],
            "twilio": [SendText(options, texts), ListTexts(options, texts), FetchAccount(options, texts)],
        }
        self._names = names_of(simulation.plan)
        self.opened: dict[str, Opened] = {}  # by token
        self._lost: dict[Call, bool] = {}  # whether its connection breaks
        self._delays: dict[Call, float] = {}
        self._refusals: dict[Call, HttpAnswer] = {}
        self.refuses_until = self.unauthorized_until = self.fails_until = 0.0

    def open_elsewhere(self, person: Person) -> Call:
        """A session that another tool has opened, in the last half of its life."""
        token, reference = f"{self._world.chance.getrandbits(160):040x}", str(UUID(int=person.number + 1))
        ends = self._world.chance.uniform(LIFETIME / 2, LIFETIME)
        call = Call(Kind.ADOPTED, "kyc", person.id, 0, 0.0, 0.0, 0.0, None, 201, processed=True)
        call.token, call.expires_at = token, ends
        begins, end = self._world.at(ends - LIFETIME), self._world.at(ends)
        self.opened[token] = Opened(IDENFY_KYC, person.id, reference, token, None, begins, end)
        self.partners["kyc"].sessions.setdefault(person.id, []).append(KycSession(reference, end))
        self._simulation.record.calls.append(call)
        return call

    # What faults do.

    def lose(self, call: Call, *, breaks: bool) -> None:
        self._lost[call] = breaks

    def delay(self, call: Call, seconds: float) -> None:
        self._delays[call] = seconds

    def refuse(self, call: Call, status: int, *, retry_after: int | None = None) -> None:
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        call.retry_after = retry_after
        self._refusals[call] = HttpAnswer(status, {"content-type": "application/json", **headers}, b"{}")

    def spoil(self, call: Call) -> None:
        call.spoilt = True

    # The way of a call.

    def http_of(self, process: "WorkerProcess") -> "SimulatedHttp":
        return SimulatedHttp(self, process)

    async def ask(self, process: "WorkerProcess", request: HttpRequest, seconds: float) -> HttpAnswer | Broken:
        account = (urlsplit(request.url).hostname or "").partition(".")[0]
        found = addressed(self._endpoints[account], request, self._world.clock())
        if found is None:
            self._simulation.record.complaints.append(f"{account} got a {request.method} for another address")
            return HttpAnswer(404, {}, b"")
        endpoint, asked = found
        client = endpoint.client(asked) or ""
        kind = KINDS.get(endpoint.name, Kind.SESSION)
        call = Call(kind, account, self._names.get(client, client), process.number, self._world.elapsed, to=client)
        if kind is Kind.TEXT:
            text = unquote_plus(request.body.decode())
            call.token, call.link = token_in(text), own_link_in(text)

        def serve() -> HttpAnswer:
            now = self._world.elapsed
            if account != "twilio" and now < self.unauthorized_until:
                return as_http(endpoint.refusal(401))
            if now < self.fails_until:
                return as_http(endpoint.refusal(500))
            asked.now = self._world.clock()
            credential = endpoint.credential(asked)
            answer = credential if isinstance(credential, Answer) else endpoint.serve(asked)
            self._served(call, asked, endpoint, answer)
            return as_http(answer)

        broken = Broken(sent=True, detail="connection reset")
        return await self.exchange(
            process, call, serve, seconds, refused=Broken(False, "connection refused"), broken=broken
        )

    async def exchange(
        self,
        process: "WorkerProcess",
        call: Call,
        serve: Callable[[], Result],
        seconds: float,
        *,
        refused: Result,
        broken: Result,
    ) -> Result:
        """The result of a call, as its process sees it. `serve` is called when it arrives."""
        process.must_live()
        process.strike("call.sending", call)
        call.sent_at = self._world.elapsed
        self._simulation.record.calls.append(call)
        if self._world.elapsed < self.refuses_until:
            call.refused = True
            await asyncio.sleep(self._travel())
            return refused
        future: asyncio.Future[Result] = process.loop.create_future()
        self._world.later(
            self._travel() + self._delays.pop(call, 0.0), self._arrive, process, call, serve, future, broken
        )
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            call.answered_at = None  # an answer of this very moment: the process has given up before it
            return broken

    def _arrive(self, process: "WorkerProcess", call: Call, serve: Callable[[], Any], future: Any, broken: Any) -> None:
        self._simulation.strike("call.arriving", process, call)
        call.arrived_at = self._world.elapsed
        if call in self._lost:
            return self._break(process, call, future, broken)
        answer = self._refusals.pop(call, None) or serve()
        call.status = getattr(answer, "status", call.status)
        self._simulation.strike("call.served", process, call)
        if call in self._lost:
            return self._break(process, call, future, broken)
        if call.spoilt:
            answer = _spoilt(answer)
        self._world.later(self._travel() + self._delays.pop(call, 0.0), self._return, process, call, answer, future)
        return None

    def _break(self, process: "WorkerProcess", call: Call, future: Any, broken: Any) -> None:
        if self._lost.pop(call):
            call.broke_at = self._world.elapsed
            self._world.later(self._travel(), process.answer, future, broken)

    def _return(self, process: "WorkerProcess", call: Call, answer: Any, future: Any) -> None:
        if process.dead or future.done():
            return
        call.answered_at = self._world.elapsed
        process.answer(future, answer)
        self._simulation.strike("call.answered", process, call)

    async def may_write(self, place: tuple[int, str], may_write: MayWrite, *, seldom: float = UNCONNECTED) -> bool:
        """Wait for a connection of a process to a host, and ask whether the call may be written then.

        A call that comes too late leaves its connection to the next one.
        """
        is_kept = self._unused[place] > 0
        self._unused[place] -= is_kept
        waited = not is_kept and await self._connected(seldom)
        may = may_write(waited)
        self._unused[place] += not may
        return may

    async def _connected(self, seldom: float) -> bool:
        """Wait until there is a connection. Returns whether one had to be opened: always where they stall, else in this
        share of the calls."""
        stalls = self._simulation.plan.stalls
        opens = stalls > 0 or (seldom > 0 and self._world.chance.random() < seldom)
        if opens:
            least, most = CONNECTING
            await asyncio.sleep(self._world.chance.uniform(least, stalls or most))
        return opens

    def _travel(self) -> float:
        return self._world.chance.uniform(*TRAVELS)

    def _served(self, call: Call, asked: Any, endpoint: Endpoint, answer: Answer) -> None:
        call.processed = answer.processed
        if call.kind is Kind.TEXT and answer.processed:
            self._simulation.people.got(call)
        opened = opened_by(endpoint.name, asked, answer)
        if opened is not None:
            call.token = opened.token
            call.expires_at = self._world.elapsed + (opened.expires_at - self._world.clock()).total_seconds()
            self.opened[opened.token] = opened


class SimulatedHttp:
    """Replaces `Http` in one process."""

    def __init__(self, wire: Wire, process: "WorkerProcess") -> None:
        self._wire, self._process = wire, process

    async def call(
        self,
        request: HttpRequest,
        *,
        timeout: timedelta,  # noqa: ASYNC109 -- as Http's
        may_write: MayWrite | None = None,
    ) -> HttpAnswer | Broken:
        place = (self._process.number, request.url.split("/")[2])
        if may_write is not None and not await self._wire.may_write(place, may_write):
            return Broken(sent=False, detail="too late to be written")
        return await self._wire.ask(self._process, request, timeout.total_seconds())

    async def close(self) -> None:
        pass


def token_in(text: str) -> str:
    """The token of the provider's link in a message; "" if there is none."""
    found = LINK.search(text)
    return found[1] if found else ""


def own_link_in(text: str) -> str:
    """The secret part of our own link in a message; "" if there is none."""
    found = OWN_LINK.search(text)
    return found[1] if found else ""


def _spoilt(answer: HttpAnswer) -> HttpAnswer:
    """The same answer with half a surrogate pair in what is kept of it: no database stores that."""
    body = json.loads(answer.body)
    body["vendorParameters"] = {"note": "\ud800"}  # FrankieOne's, which are passed on to the page
    for name in ("authToken", "tokenString"):
        if name in body:
            body[name] += "\ud800"
    return HttpAnswer(answer.status, answer.headers, json.dumps(body).encode())
