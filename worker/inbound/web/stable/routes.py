"""`/s/ID`: leads a visitor to the live session, or shows a page. What is decided is in `domain.links`."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from math import ceil

import sqlalchemy as sa
from aiohttp import web

from worker.domain.limits.rate_limits import Limit
from worker.domain.links.door import Gone, Lead, Over, Press, Wait
from worker.domain.links.press import Visit, Why, counts_as_opened, why_not_asked, why_not_pressed
from worker.domain.model.reasons import Reason
from worker.domain.model.wakeups import Wake
from worker.foundation.clock import Clock, monotonic
from worker.foundation.keyring import CannotDecrypt
from worker.inbound.web.batching import InThread
from worker.inbound.web.dashboard.forms import form_of
from worker.inbound.web.link_waiters import Waiting
from worker.inbound.web.peers import Network, peer_of
from worker.inbound.web.problems import problem
from worker.inbound.web.rate_limit import Allowance
from worker.inbound.web.readiness import Readiness
from worker.inbound.web.request_body import Unacceptable
from worker.inbound.web.stable.pages import HEADERS, Shown, page_of
from worker.inbound.web.stable.visitors import COOKIE, KEPT, Visitor, Visitors
from worker.providers.links import https_link
from worker.store.links.doors import Doors, Seen

log = logging.getLogger(__name__)

# Of a link, and of the machine that asks. A page that waits asks each two seconds.
OF_LINK, OF_ADDRESS = Limit(60, timedelta(minutes=1)), Limit(600, timedelta(minutes=1))
# How long an answer waits for a session that was just asked for; then a page waits.
PATIENCE = 2.5
REFRESH_SECONDS, LATER_SECONDS = 2, 60
ANNOUNCED = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
LONGEST_AGENT = 1000


class StableRoutes:
    """`hosts`: where each account's links may lead. `on_click`: a session is bought by a press alone."""

    def __init__(
        self,
        doors: Doors,
        visitors: Visitors,
        waiting: Waiting,
        readiness: Readiness,
        in_thread: InThread,
        wake: Wake,
        clock: Clock,
        *,
        hosts: Mapping[str, Sequence[str]],
        on_click: bool,
        is_secure: bool,
        trusted: Sequence[Network] = (),
        form_seconds: float,
        patience: float = PATIENCE,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._doors, self._visitors, self._waiting = doors, visitors, waiting
        self._readiness, self._in_thread, self._wake, self._clock = readiness, in_thread, wake, clock
        self._hosts, self._on_click, self._is_secure = hosts, on_click, is_secure
        self._trusted, self._form_seconds, self._patience = trusted, form_seconds, patience
        self._seconds = seconds
        self._of_link, self._of_address = Allowance(OF_LINK), Allowance(OF_ADDRESS)

    async def get(self, request: web.Request) -> web.Response:
        """Lead to the live session, or show a page. A HEAD changes nothing."""
        if (refused := self._refused(request)) is not None:
            return refused
        now, secret = self._clock(), request.match_info["secret"]
        visitor = self._visitors.of(request.cookies.get(COOKIE, ""), now=now)
        visit = _visit(request, visitor)
        asks = why_not_asked(visit)
        try:
            seen = await self._in_thread(partial(self._doors.see, secret, now=now))
            if asks is None and isinstance(seen.decision, Press) and not self._on_click:
                seen = await self._asked(secret)
            opened = counts_as_opened(visit, now=now)
            if request.method != "HEAD" and asks is None:
                await self._in_thread(partial(self._doors.visited, seen, opened=opened, now=now))
        except (sa.exc.OperationalError, CannotDecrypt) as error:
            return _unavailable(error)
        if isinstance(seen.decision, Lead) and asks in (None, Why.NOT_GET):
            return self._led(seen, visitor)
        return self._page(seen, visitor, secret)

    async def post(self, request: web.Request) -> web.Response:
        """A press: it counts, or the page is shown again."""
        if (refused := self._refused(request)) is not None:
            return refused
        now, secret = self._clock(), request.match_info["secret"]
        visitor = self._visitors.of(request.cookies.get(COOKIE, ""), now=now)
        try:
            form = await form_of(request, seconds=self._form_seconds)
        except Unacceptable as error:
            answer = problem(error.status, error.args[0])
            answer.force_close()
            return answer
        visit = _visit(request, visitor, shown_at=self._visitors.shown_at(form.get("form", ""), visitor, secret))
        why_not = why_not_pressed(visit, now=now)
        try:
            if why_not is not None:
                log.info("a press of a stable link does not count: %s", why_not)
                seen = await self._in_thread(partial(self._doors.see, secret, now=now))
                return self._page(seen, visitor, secret, again=True)
            seen = await self._asked(secret)
            await self._in_thread(partial(self._doors.visited, seen, opened=True, now=now))
        except (sa.exc.OperationalError, CannotDecrypt) as error:
            return _unavailable(error)
        return self._led(seen, visitor) if isinstance(seen.decision, Lead) else self._page(seen, visitor, secret)

    async def _asked(self, secret: str) -> Seen:
        """What the visitor gets who may buy a session; once it is there, if that is soon."""
        seen: Seen = await self._in_thread(partial(self._doors.ask, secret, now=self._clock()))
        for wake_up in seen.due:
            self._wake(wake_up)
        if isinstance(seen.decision, Wait) and seen.decision.until is None and seen.job_id is not None:
            await self._waiting.wait(seen.job_id, self._patience, caller="")
            seen = await self._in_thread(partial(self._doors.see, secret, now=self._clock()))
        return seen

    def _refused(self, request: web.Request) -> web.Response | None:
        if self._readiness.why_not is not None:
            return problem(503, self._readiness.why_not, retry_after=REFRESH_SECONDS)
        peer = peer_of(request.remote, request.headers.getall("X-Forwarded-For", []), self._trusted)
        now = self._seconds()
        wait = max(self._of_address.take(peer, now), self._of_link.take(request.match_info["secret"][:64], now))
        if not wait:
            return None
        return web.Response(status=429, text="Too many requests.", headers=HEADERS | {"Retry-After": f"{ceil(wait)}"})

    def _led(self, seen: Seen, visitor: Visitor) -> web.Response:
        """To the session's link: nowhere else, and only to a host that its account may link to."""
        link = https_link(seen.link, self._hosts.get(seen.account, ()))
        if link is None:
            log.error("the account %s may not link to the host of a session's link", seen.account)
            return self._answer(Shown(Over(Reason.SESSION_DECIDED), locale=seen.locale), visitor)
        answer = web.Response(status=303, headers=HEADERS | {"Location": link})
        return self._known(answer, visitor)

    def _page(self, seen: Seen, visitor: Visitor, secret: str, *, again: bool = False) -> web.Response:
        form = ""
        if isinstance(seen.decision, Press | Lead):
            form = self._visitors.form(visitor, secret, now=self._clock())
        return self._answer(Shown(seen.decision, form, again, seen.locale), visitor)

    def _answer(self, shown: Shown, visitor: Visitor) -> web.Response:
        status = 404 if isinstance(shown.decision, Gone) else 200
        headers = dict(HEADERS)
        if isinstance(shown.decision, Wait):
            headers["Refresh"] = str(LATER_SECONDS if shown.decision.until else REFRESH_SECONDS)
        answer = web.Response(text=page_of(shown), status=status, content_type="text/html", headers=headers)
        return answer if isinstance(shown.decision, Gone) else self._known(answer, visitor)

    def _known(self, answer: web.Response, visitor: Visitor) -> web.Response:
        """The answer, with the visitor's cookie if it has none."""
        if visitor.is_new:
            answer.set_cookie(
                COOKIE,
                self._visitors.cookie(visitor),
                max_age=int(KEPT.total_seconds()),
                path="/s/",
                secure=self._is_secure,
                httponly=True,
                samesite="Lax",
            )
        return answer


def _visit(request: web.Request, visitor: Visitor, *, shown_at: datetime | None = None) -> Visit:
    return Visit(
        method=request.method,
        agent=request.headers.get("User-Agent", "")[:LONGEST_AGENT],
        purposes=[value for name in ANNOUNCED for value in request.headers.getall(name, [])],
        shown_at=shown_at,
        first_seen=None if visitor.is_new else visitor.first_seen,
    )


def _unavailable(error: Exception) -> web.Response:
    if isinstance(error, CannotDecrypt):
        log.error("a stable link cannot be followed: %s", error.for_logs)
    return web.Response(status=503, text="Please try again in a minute.", headers=HEADERS | {"Retry-After": "60"})
