"""`/s/ID`: leads a visitor to the live session, or shows a page without scripts. What is decided is in `landing` and
`visitors`."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from math import ceil
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from aiohttp import web

from onboarding_worker.core.foundation.keyring import CannotDecrypt
from onboarding_worker.core.foundation.logs import CountLog, logged
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.features.stable_links.landing import (
    Asks,
    Buy,
    Decision,
    Finished,
    Gone,
    LandingRules,
    Lead,
    Over,
    Press,
    Wait,
)
from onboarding_worker.features.stable_links.section import Links, made
from onboarding_worker.features.stable_links.store.landings import GONE, Landings, Outcome, Seen
from onboarding_worker.features.stable_links.visitors import (
    COOKIE,
    Visitor,
    Visitors,
    Why,
    why_not_asked,
    why_not_pressed,
)
from onboarding_worker.providers.account import https_link
from onboarding_worker.runtime.web_application import FeatureRoutes, Shared
from onboarding_worker.settings.policies import orphan_rules
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.pages import FORMS, Pages
from onboarding_worker.templates.values import Screen
from onboarding_worker.web.events.request_body import Unacceptable, form_of
from onboarding_worker.web.problems import HONEST, PAGE_HEADERS, REFUSED
from onboarding_worker.web.strangers import Door
from onboarding_worker.web.turns import Allowance, TooMany, Waiting
from onboarding_worker.wiring.container import Parts

log = logging.getLogger(__name__)

# A page that waits asks each two seconds.
OF_LINK = Limit(60, timedelta(minutes=1))
# Links that are looked up at a time. Those who asked for links that are none take half: threads are left to others.
PLACES = 8
# How long an answer waits for a session that was just asked for; then a page waits.
PATIENCE = 2.5
LATER = {"Retry-After": "60"}  # of a page that says that something is wrong here
# In seconds: when a page that waits looks again.
REFRESH, REFRESH_LATER = 2, 60
# After so long a visitor reads what to do, and may close the page.
LONG = timedelta(seconds=30)
MINUTE, SOME_MINUTES = timedelta(minutes=1), timedelta(minutes=10)
HEADERS = PAGE_HEADERS | {"X-Robots-Tag": "noindex, nofollow"}
# In the address at which a page that waits looks again, after a press: it leads on where the page would come first.
PRESSED = "pressed"
Handler = Callable[[web.Request], Awaitable[web.Response]]


def seconds() -> float:
    """The time by which requests are limited: the loop's, which may be stepped."""
    return asyncio.get_running_loop().time()


@dataclass(kw_only=True)
class StableRoutes:
    """Belongs to one loop. `hosts`: where each account's links may lead. `on_click`: a session is bought by a press
    alone. `page_first`: a press alone leads to the session, too. `pages`: by brand. `is_secure`: our links are https.
    Only on a machine of its own may a page lead to http."""

    shared: Shared
    hosts: Mapping[str, Sequence[str]]
    on_click: bool
    page_first: bool
    landings: Landings
    visitors: Visitors
    pages: Mapping[str, Pages]
    is_secure: bool
    waiting: Waiting

    def __post_init__(self) -> None:
        self._in_thread, self._clock = self.shared.in_thread, self.shared.parts.clock
        # A blocking call. A form is shown and pressed by its time: the process that shows it may have stood still, and
        # a press would seem old to another process.
        self._database_clock = self.shared.parts.database_clock
        said = "presses of stable links that do not count: "
        self.not_counted = CountLog[Why](
            log, lambda new: said + ", ".join(f"{one}: {new[one]:,}" for one in sorted(new))
        )
        self._of_link, self._door = Allowance(OF_LINK), Door(self.shared.strangers, "stable links", PLACES)
        self._headers = {
            brand: HEADERS | {"Content-Security-Policy": _policy(pages, is_secure=self.is_secure)}
            for brand, pages in self.pages.items()
        }

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/s/{secret}", self._open(self._get))
        router.add_post("/s/{secret}", self._open(self._post))
        router.add_get("/s/{secret}/not-me", self._open(self._question))
        router.add_post("/s/{secret}/not-me", self._open(self._said_not_me))

    def _open(self, handler: Handler) -> Handler:
        """The handler, with the answers that come in its place."""

        async def handle(request: web.Request) -> web.Response:
            if self.shared.readiness.why_not is not None:
                return self._answer(request, Screen.TROUBLE, status=503, headers=LATER)
            try:
                return await handler(request)
            except TooMany as error:
                headers = {"Retry-After": str(ceil(error.seconds))}
                return self._answer(request, Screen.BUSY, status=429, headers=headers)
            except Unacceptable as error:
                return error.answer
            except (sa.exc.OperationalError, CannotDecrypt) as error:
                if isinstance(error, CannotDecrypt):
                    log.error("a stable link cannot be followed: %s", error.for_logs)
                return self._answer(request, Screen.TROUBLE, status=503, headers=LATER)

        return handle

    async def _get(self, request: web.Request) -> web.Response:
        """Lead to the live session, or show a page. A HEAD changes nothing."""
        now, secret, visitor = self._clock(), request.match_info["secret"], self._visitor(request)
        asks = why_not_asked(request)
        seen = await self._see(request)
        # A session that has ended is replaced by a press alone.
        is_first = isinstance(seen.decision, Press) and not seen.decision.replaces
        if asks is None and is_first and not (self.on_click or self.page_first):
            seen = await self._asked(secret, Asks.VISIT)
        if isinstance(seen.decision, Lead) and self.page_first and PRESSED not in request.query:
            seen = replace(seen, decision=Press(), link="")  # only a press leads on
        if asks is None:
            opened = visitor.comes_back(now=now)
            await self._in_thread(partial(self.landings.visited, seen, opened=opened, now=now))
        if isinstance(seen.decision, Lead) and asks in (None, Why.NOT_GET):
            return self._led(request, seen, visitor)
        return await self._page(request, seen, visitor)

    async def _post(self, request: web.Request) -> web.Response:
        """A press: it counts, or the page is shown again."""
        secret = request.match_info["secret"]
        visitor, why_not = await self._pressed(request, secret)
        now, seen = self._clock(), await self._see(request)
        if why_not is not None:
            return await self._page(request, seen, visitor, again=True)
        seen = await self._asked(secret, Asks.PRESS)
        await self._in_thread(partial(self.landings.visited, seen, opened=True, now=now))
        if isinstance(seen.decision, Lead):
            return self._led(request, seen, visitor)
        return await self._page(request, seen, visitor)

    async def _question(self, request: web.Request) -> web.Response:
        """The question whether the link is for another person. Changes nothing."""
        return await self._ask_not_me(request, await self._see(request), self._visitor(request))

    async def _said_not_me(self, request: web.Request) -> web.Response:
        """The visitor says so: nothing more is sent, where the press counts."""
        secret = request.match_info["secret"]
        visitor, why_not = await self._pressed(request, _for_not_me(secret))
        seen = await self._see(request)
        if why_not is not None:
            return await self._ask_not_me(request, seen, visitor, again=True)
        outcome = await self._in_thread(partial(self.landings.stop, secret, now=self._clock()))
        # The form shows that there was such a link: the second of two presses finds none, and reads the same.
        screen = Screen.LONG if outcome is Outcome.MOMENT else Screen.STOPPED
        return self._answer(request, screen, seen, address=_address(request))

    def _visitor(self, request: web.Request) -> Visitor:
        return self.visitors.of(request.cookies.get(COOKIE, ""), now=self._clock())

    async def _pressed(self, request: web.Request, of: str) -> tuple[Visitor, Why | None]:
        """Who posts the form of a page, and why it does not count. Raises Unacceptable."""
        visitor = self._visitor(request)
        form = await form_of(request, seconds=self.shared.body_seconds)
        now = await self._in_thread(self._database_clock)
        shown_at = self.visitors.shown_at(form.get("form", ""), visitor, of, now=now)
        why_not = why_not_pressed(request, shown_at, now=now)
        if why_not is not None:
            # Counts: a machine that posts such forms must not fill the log.
            self.not_counted.add([why_not], seconds())
        return visitor, why_not

    async def _see(self, request: web.Request) -> Seen:
        """What the visitor finds. Counts it; raises TooMany. Only a link itself is closed by who asks for it:
        behind a proxy all customers may be one machine."""
        secret = request.match_info["secret"]
        async with self._door.place(request):
            seen: Seen = await self._in_thread(partial(self.landings.see, secret, now=self._clock()))
            if isinstance(seen.decision, Gone):
                request[REFUSED], request[HONEST] = "stable links: there is none", True
        if not isinstance(seen.decision, Gone) and (wait := self._of_link.take(secret, seconds())):
            raise TooMany(wait)
        return seen

    async def _asked(self, secret: str, by: Asks) -> Seen:
        """What the visitor gets who may buy a session; once it is there, if that is soon."""
        seen: Seen = await self._in_thread(partial(self.landings.ask, secret, by=by, now=self._clock()))
        for wake_up in seen.due:
            self.shared.wake(wake_up)
        if isinstance(seen.decision, Wait) and seen.decision.until is None and seen.job_id is not None:
            await self.waiting.wait(seen.job_id, PATIENCE, caller="")
            seen = await self._in_thread(partial(self.landings.see, secret, now=self._clock()))
        return seen

    def _led(self, request: web.Request, seen: Seen, visitor: Visitor) -> web.Response:
        """To the session's link: nowhere else, and only to a host that its account may link to."""
        link = https_link(seen.link, self.hosts.get(seen.account, ()))
        if link is None:
            log.error("the account %s may not link to the host of a session's link", seen.account)
            return self.visitors.known(self._answer(request, Screen.LATER, seen), visitor)
        return self.visitors.known(web.Response(status=303, headers=HEADERS | {"Location": link}), visitor)

    async def _page(self, request: web.Request, seen: Seen, visitor: Visitor, *, again: bool = False) -> web.Response:
        """`again`: the button was pressed, and the press did not count."""
        now, decision = self._clock(), seen.decision
        if isinstance(decision, Gone):
            return self._answer(request, Screen.GONE, status=404)
        screen = _screen_of(decision, again=again, now=now)
        form = await self._form(visitor, request.match_info["secret"]) if screen in FORMS else ""
        headers, looks_again, ready_by = dict[str, str](), "", None
        if isinstance(decision, Wait | Buy):
            # The page looks again by itself and by its link: after a press where it leads on. It buys nothing.
            if self.page_first and (request.method == "POST" or PRESSED in request.query):
                looks_again = f"{_address(request)}?{PRESSED}"
            after = REFRESH_LATER if screen is Screen.LONG else REFRESH
            headers["Refresh"] = f"{after}; url={looks_again}" if looks_again else str(after)
        if isinstance(decision, Wait) and decision.until is not None and decision.until - now > SOME_MINUTES:
            ready_by = decision.until + MINUTE  # rounded up: the page names whole minutes
        shown: dict[str, Any] = {"token": form, "address": _address(request), "looks_again": looks_again}
        answer = self._answer(request, screen, seen, headers=headers, ready_by=ready_by, **shown)
        return self.visitors.known(answer, visitor)

    async def _ask_not_me(
        self, request: web.Request, seen: Seen, visitor: Visitor, *, again: bool = False
    ) -> web.Response:
        if isinstance(seen.decision, Gone):
            return self._answer(request, Screen.GONE, status=404)
        form = await self._form(visitor, _for_not_me(request.match_info["secret"]))
        answer = self._answer(request, Screen.NOT_ME, seen, again=again, token=form, address=_address(request))
        return self.visitors.known(answer, visitor)

    async def _form(self, visitor: Visitor, of: str) -> str:
        return self.visitors.form(visitor, of, now=await self._in_thread(self._database_clock))

    def _answer(
        self,
        request: web.Request,
        screen: Screen,
        seen: Seen = GONE,
        *,
        status: int = 200,
        headers: Mapping[str, str] = MappingProxyType({}),
        **shown: Any,
    ) -> web.Response:
        """The page. `seen`: the customer's facts; of nobody where a page shows none. `shown`: see `Pages.render`."""
        # A link that was sent leads on when its brand is no more in the configuration.
        brand = seen.brand if seen.brand in self.pages else ""
        pages = self.pages[brand]
        locale = seen.locale or pages.locale_of(request.headers.get("Accept-Language", ""))
        try:
            text = pages.render(screen, locale=locale, template=seen.template, customer_kind=seen.kind, **shown)
        except TemplateProblem as error:
            log.error("the page of a stable link cannot be made: %s", error)
            return web.Response(status=503, text="Please try again later.", headers=HEADERS)
        own = self._headers[brand] | dict(headers)
        return web.Response(text=text, status=status, content_type="text/html", headers=own)


def _policy(pages: Pages, *, is_secure: bool) -> str:
    """The page may load its one style and its logo, and nothing else. Browsers hold `form-action` against the whole way
    of a form: our redirect after a press, and the provider's own redirects after it, to hosts that we do not know."""
    logo = urlsplit(pages.logo)
    # `data:` is the empty icon. 'none' beside another source is an error, which browsers report on each page.
    images = f"{logo.scheme}://{logo.netloc} data:" if logo.netloc else "data:"
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{b64encode(sha256(pages.style.encode()).digest()).decode()}'",
            f"img-src {images}",
            "form-action 'self' https:" + ("" if is_secure else " http:"),
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def _screen_of(decision: Decision, *, again: bool, now: datetime) -> Screen:
    match decision:
        case Finished():
            return Screen.DONE
        case Wait(until=until, since=since):
            waits_long = until is not None or (since is not None and now - since > LONG)
            return Screen.LONG if waits_long else Screen.WAITING
        case Buy():
            return Screen.WAITING
        case Over():
            return Screen.LATER
        case _:
            return Screen.AGAIN if again else Screen.ASK


def _address(request: web.Request) -> str:
    """The link's own path, without the host: a proxy may have another."""
    return f"/s/{request.match_info['secret']}"


def _for_not_me(secret: str) -> str:
    """What a form of the other page is for: none of them is good for both."""
    return f"{secret} not-me"


def landings_of(parts: Parts) -> Landings:
    """What visitors of stable links find."""
    follow_up, providers = parts.settings.follow_up, parts.providers
    allowed_from = {name: provider.reissue_at for name, provider in providers.items()}
    rules = LandingRules(follow_up.most, follow_up.per_day, allowed_from, orphan_rules(providers))
    return Landings(parts.database, parts.keyring, rules)


def _add(application: web.Application, shared: Shared) -> None:
    """Whatever the mode is now, links that were sent lead on."""
    parts, settings = shared.parts, shared.parts.settings
    if settings.web.base_url is None:
        return
    own, landings = made(settings), landings_of(parts)
    is_secure = settings.web.base_url.startswith("https:")
    waiting = Waiting(landings.ready, shared.in_thread)
    routes = StableRoutes(
        shared=shared,
        hosts={name: account.link_hosts for name, account in settings.accounts.items()},
        on_click=own is not None and own.on_click,
        page_first=settings.section(Links).page,
        landings=landings,
        visitors=Visitors(parts.keyring, is_secure=is_secure),
        pages=parts.link_pages,
        is_secure=is_secure,
        waiting=waiting,
    )

    async def log_what_does_not_count(_application: web.Application) -> AsyncIterator[None]:
        async with logged(routes.not_counted):
            yield

    application.on_shutdown.append(waiting.close)
    application.cleanup_ctx.append(log_what_does_not_count)
    routes.add_to(application.router)


ROUTES = FeatureRoutes(_add)
