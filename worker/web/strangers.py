"""Strangers at the doors that cost something: who gets the next place, whose refusals are counted, and how long their
answers wait.

`Line` and `Standing` are pure. A place goes to the machine that was refused least, together with its network. Among
equals the one who came last is next, then the one who came first: a crowd comes after a person, or was there before. An
answer that is slowed waits outside, and holds no place. A browser in which this user has logged in goes first.

All is counted by this process alone. docs/security/threat-model.md says against whom.
"""

import asyncio
import ipaddress
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property

from aiohttp import web
from aiohttp.typedefs import Middleware

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.web.middlewares import UNKNOWN, Handler, Network, peer_of
from onboarding_worker.web.problems import HONEST, REFUSED, Refused, problem
from onboarding_worker.web.turns import TooMany

# Of IPv4 the least that is routed on its own; of IPv6 what one site gets, whose 65,536 /64 are then no 65,536 machines.
IPV4_NETWORK, IPV6_NETWORK = 24, 48
EVERY_SECONDS = 60.0
NAMED = 5  # machines in a line of the log
# So many refusals are answered at once; each next one waits twice as long.
FREE = 10
FIRST_DELAY, LONGEST_DELAY = 0.25, 4.0
# So many answers wait at a time, and further ones do not: a waiting answer costs a connection.
MOST_DELAYED = 1000
# Who was not refused for so long begins anew. More refusals than these make no difference.
FORGET_SECONDS, MOST_COUNTED = 600.0, 63
MOST_KNOWN = 10_000  # of each kind; the one that was refused longest ago is forgotten
OF_NETWORK = 4  # refusals of a network count as one of a machine: who mistypes puts no colleague behind strangers
# Wrong guesses at one target, such as a name: after ten, those who were refused often get at it so many seconds apart.
PACE_SECONDS, OFTEN = 1.5, 4
# Wrong guesses of a browser that is known; then it counts as a stranger's, until the next log-in.
OF_BROWSER, BROWSER_SECONDS = 10, 30 * 86_400.0
# Who wait at one door: of a machine, of a network, and in all. Beyond, one of those goes who were refused most.
MOST_WAITING = (32, 64, 256)
DELAY = web.RequestKey("delay", float)  # of a refusal that is counted already


@dataclass(frozen=True)
class Who:
    """`target`: what is guessed at. `browser`: names one that this user has logged in with before."""

    machine: str
    network: str
    target: str = ""
    browser: str = ""

    @cached_property
    def groups(self) -> tuple[str, str, str]:
        """Whom its place counts for: the smallest first."""
        return self.browser or self.machine, self.browser or self.network, ""


WHO = web.RequestKey("who", Who)


class Record:
    """How often each was refused, and when last."""

    def __init__(self, forget: float = FORGET_SECONDS) -> None:
        self._forget = forget
        self._refused: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def add(self, who: str, now: float, times: int = 1) -> int:
        times += self.times(who, now)
        self._refused.pop(who, None)
        self._refused[who] = (times, now)
        if len(self._refused) > MOST_KNOWN:
            self._refused.popitem(last=False)
        return times

    def times(self, who: str, now: float) -> int:
        times, last = self._refused.get(who, (0, now))
        return times if now - last <= self._forget else 0

    def last(self, who: str) -> float:
        return self._refused[who][1]


class Standing:
    """What is known about strangers, at all doors together. Times are monotonic seconds, and passed in."""

    def __init__(self) -> None:
        self._machines, self._networks, self._targets = Record(), Record(), Record()
        self._browsers = Record(BROWSER_SECONDS)

    def refused(self, who: Who, now: float) -> int:
        """Count a refusal; how many there were of this browser, or machine and its network."""
        if who.target:
            self._targets.add(who.target, now)
        if who.browser and not self.is_spent(who.browser, now):
            return self._browsers.add(who.browser, now)
        return max(self._machines.add(who.machine, now), self._networks.add(who.network, now) // OF_NETWORK)

    def rank(self, who: Who, now: float) -> int:
        """The lowest goes first: it is higher each time that the refusals of the machine double, or of its network."""
        if who.browser and not self.is_spent(who.browser, now):
            return -1
        times = self._machines.times(who.machine, now), self._networks.times(who.network, now) // OF_NETWORK
        return sum(min(one, MOST_COUNTED).bit_length() for one in times)

    def may_from(self, who: Who, rank: int, now: float) -> float:
        """When one of this rank may get at its target."""
        if rank < OFTEN or self._targets.times(who.target, now) <= FREE:
            return now
        return self._targets.last(who.target) + PACE_SECONDS

    def is_spent(self, browser: str, now: float) -> bool:
        return self._browsers.times(browser, now) >= OF_BROWSER

    def spend(self, browser: str, now: float) -> None:
        """It counts no more: the person has logged out."""
        self._browsers.add(browser, now, OF_BROWSER)


class Line:
    """Who is next at a door with so many places. A machine holds at most a quarter of them, a network half, and as many
    all who were refused. Times are monotonic seconds, and passed in."""

    def __init__(self, places: int, standing: Standing) -> None:
        self._standing = standing
        self._half = max(1, places // 2)
        self._most = max(1, places // 4), self._half, places
        self._waiting: dict[int, Who] = {}  # by ticket
        self._held: dict[int, tuple[Who, bool]] = {}  # and whether it had been refused before
        self._tickets, self._newest = 0, True
        self.looks_again_at: float | None = None  # when somebody who waits may get at a target that is closed now

    def come(self, who: Who, now: float) -> tuple[int, set[int]]:
        """The ticket; and those who must go for it, maybe itself."""
        self._tickets += 1
        self._waiting[self._tickets] = who
        gone: set[int] = set()
        for group, (of, most) in enumerate(zip(who.groups, MOST_WAITING, strict=True)):
            there = [ticket for ticket, one in self._waiting.items() if one.groups[group] == of]
            if len(there) > most:
                ranks = {ticket: self._standing.rank(self._waiting[ticket], now) for ticket in there}
                last = [ticket for ticket in there if ranks[ticket] == max(ranks.values())]
                gone.add(last[len(last) // 2])
        for ticket in gone:
            del self._waiting[ticket]
        return self._tickets, gone

    def leave(self, ticket: int) -> bool:
        """It waits no more, or gives its place back. Whether it had one."""
        self._waiting.pop(ticket, None)
        return self._held.pop(ticket, None) is not None

    def call(self, now: float) -> list[int]:
        """Whose turn has come: they hold a place until they leave."""
        called: list[int] = []
        self.looks_again_at = None
        while len(self._held) < self._most[-1] and (able := self._able(now)):
            rank, _, ticket = min(able)
            self._held[ticket] = self._waiting.pop(ticket), rank > 0
            self._newest = not self._newest
            called.append(ticket)
        return called

    def _able(self, now: float) -> list[tuple[int, int, int]]:
        """Who may have a place now, as rank, place among equals, and ticket."""
        able: list[tuple[int, int, int]] = []
        held = Counter((group, of) for who, _ in self._held.values() for group, of in enumerate(who.groups))
        is_open = sum(refused for _, refused in self._held.values()) < self._half
        for ticket, who in self._waiting.items():
            rank = self._standing.rank(who, now)
            at = self._standing.may_from(who, rank, now)
            if at > now:
                self.looks_again_at = min(at, self.looks_again_at or at)
            elif (is_open or rank <= 0) and all(held[one] < self._most[one[0]] for one in enumerate(who.groups)):
                able.append((rank, -ticket if self._newest else ticket, ticket))
        return able


def network_of(machine: str) -> str:
    """The network of a machine's address, or of its IPv6 network."""
    if machine == UNKNOWN:
        return UNKNOWN
    found = ipaddress.ip_network(machine)
    return str(found.supernet(new_prefix=IPV4_NETWORK if found.version == 4 else IPV6_NETWORK))


class Strangers:
    """Counts, logs and delays the answers to what is refused, and opens doors. Belongs to one loop."""

    def __init__(self, log: logging.Logger, trusted: Sequence[Network] = ()) -> None:
        """`trusted`: the proxies whose word counts about who asks."""
        self.standing = Standing()
        self._log, self._trusted = log, trusted
        self._since: Counter[str] = Counter()  # by machine, since the last line
        self._why = ""
        self._logged_at: float | None = None
        self._delayed = 0

    def counted(self, request: web.Request, who: Who | None = None) -> float:
        """Count a refused request, once; how many seconds its answer should wait."""
        if DELAY not in request:
            now, who = monotonic(), who or self._who(request)
            times = self.standing.refused(who, now)
            request[DELAY] = delay_of(times)
            if times > FREE or not request.get(HONEST):
                self.note(who.machine, request[REFUSED], now)
        return request[DELAY]

    def _who(self, request: web.Request) -> Who:
        if WHO not in request:
            machine = peer_of(request.remote, request.headers.getall("X-Forwarded-For", []), self._trusted)
            request[WHO] = Who(machine, network_of(machine))
        return request[WHO]

    def at(self, request: web.Request, target: str, browser: str) -> Who:
        """Who comes to a door."""
        is_known = browser and not self.standing.is_spent(browser, monotonic())
        return replace(self._who(request), target=target, browser=browser if is_known else "")

    def note(self, machine: str, why: str, now: float) -> None:
        """For the log's line of each minute. `why` holds nothing of the request."""
        self._since[machine if machine in self._since or len(self._since) < MOST_KNOWN else UNKNOWN] += 1
        self._why = why
        if self._logged_at is None or now - self._logged_at >= EVERY_SECONDS:
            self.write(now)

    def write(self, now: float) -> None:
        """Log what was not logged. Called each minute too, and at the end: the last ones are not left out."""
        if self._since:
            self._log.warning("%d refused (%s); the last for %s", self._since.total(), self._named(), self._why)
            self._logged_at = now
            self._since.clear()

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def slow(request: web.Request, handler: Handler) -> web.StreamResponse:
            answer = await handler(request)
            if REFUSED in request and (seconds := self.counted(request)) and self._delayed < MOST_DELAYED:
                self._delayed += 1
                try:
                    await wait(seconds)
                finally:
                    self._delayed -= 1
            return answer

        return slow

    def _named(self) -> str:
        named = [f"{count} from {machine}" for machine, count in self._since.most_common(NAMED)]
        others = len(self._since) - len(named)
        return ", ".join(named) + (f", and others from {others} addresses" if others else "")


def _is_heard(transport: asyncio.Transport | None) -> bool:
    return transport is not None and not transport.is_closing() and transport.is_reading()


def delay_of(times: int) -> float:
    """How many seconds the answer to so many refusals waits."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(times - FREE - 1, 10)) if times > FREE else 0.0


async def wait(seconds: float) -> None:
    """Wait before an answer is given; tests do not."""
    await asyncio.sleep(seconds)


class Door:
    """A line that requests wait in. Belongs to one loop."""

    def __init__(self, strangers: Strangers, name: str, places: int) -> None:
        self._strangers, self._name = strangers, name
        self._line = Line(places, strangers.standing)
        self._there: dict[int, tuple[asyncio.Future[None], web.Request]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def place(self, request: web.Request, *, target: str = "", browser: str = "") -> AsyncIterator[None]:
        """Hold a place while the block runs. For `target` and `browser` see `Who`. Raises TooMany, where others go
        before it; Refused, where its client has hung up meanwhile."""
        who = self._strangers.at(request, target, browser)
        self._let_go()
        ticket, gone = self._line.come(who, monotonic())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._there[ticket] = turn, request
        for one in gone:
            self._there[one][1][REFUSED] = f"{self._name}: too many at once"
            self._end(one, TooMany())
        try:
            self._call()
            await turn
            yield
        finally:
            del self._there[ticket]
            if self._line.leave(ticket) and REFUSED in request:
                self._strangers.counted(request, who)  # before the next one comes to its turn
            self._call()

    def _let_go(self) -> None:
        """End those who have hung up; and those who sent so much behind their request that it would not be seen."""
        for ticket, (turn, request) in self._there.items():
            if not turn.done() and not _is_heard(request.transport):
                self._line.leave(ticket)
                answer = problem(408, "the client has hung up")
                answer.force_close()
                self._end(ticket, Refused(answer))

    def _call(self) -> None:
        self._let_go()
        now = monotonic()
        for ticket in self._line.call(now):
            if not (turn := self._there[ticket][0]).done():  # else it has just been cancelled, and will leave
                turn.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (again_at := self._line.looks_again_at) is not None:
            self._timer = asyncio.get_running_loop().call_later(again_at - now, self._call)

    def _end(self, ticket: int, why: Exception) -> None:
        turn, _ = self._there[ticket]
        if not turn.done():
            turn.set_exception(why)
