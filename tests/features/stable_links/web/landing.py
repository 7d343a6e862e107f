"""The routes of stable links over a scripted landing page, and its visitors: no database, and time that tests move."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.features.stable_links.landing import Asks, Decision, Lead, Press
from onboarding_worker.features.stable_links.routes import StableRoutes
from onboarding_worker.features.stable_links.store.landings import GONE, Outcome, Seen
from onboarding_worker.features.stable_links.visitors import Visitors
from onboarding_worker.runtime.web_application import Shared
from onboarding_worker.templates.brand import Brand
from onboarding_worker.templates.library import Library
from onboarding_worker.templates.pages import Pages

SECRET = "0123456789abcdefABCDEF-_"
OTHER = "ZZZZ456789abcdefABCDEF-_"
SESSION = "https://ivs.idenfy.com/api/v2/redirect?authToken=t0k"
BRAND = Brand(name="Example Bank", logo="https://www.example.com/logo.png", support="help@example.com")
NOVA = Brand(name="Nova", logo="https://cdn.nova.example/logo.png", colour="#ffd400")
FORM = re.compile(r'name="form" value="([^"]+)"')


class Landings:
    """Two links whose customers have no session yet. `asked` and `opened` are what visitors brought about."""

    def __init__(self) -> None:
        self.decision: Decision = Press()
        self.asked: list[str] = []
        self.by: list[Asks] = []
        self.opened: list[bool] = []
        self.led: list[bool] = []
        self.answer: Decision = Lead()
        self.stopped: list[str] = []
        self.outcome = Outcome.STOPPED
        self.locale, self.brand = "en", ""
        self.session = SESSION

    def see(self, secret: str, *, now: datetime) -> Seen:
        if secret not in (SECRET, OTHER) or secret in self.stopped:
            return GONE
        link = self.session if isinstance(self.decision, Lead) else ""
        return Seen(self.decision, account="kyc", job_id=1, link=link, locale=self.locale, brand=self.brand)

    def ask(self, secret: str, *, by: Asks, now: datetime) -> Seen:
        self.asked.append(secret)
        self.by.append(by)
        return Seen(self.answer, account="kyc", job_id=1, link=self.session, due=(WakeUp.issue("kyc"),))

    def visited(self, seen: Seen, *, opened: bool, now: datetime) -> None:
        self.opened.append(opened)
        self.led.append(isinstance(seen.decision, Lead))

    def stop(self, secret: str, *, now: datetime) -> Outcome:
        self.stopped.append(secret)
        return self.outcome


class LandingSite:
    """`on_click`: a session is bought by a press alone. `page_first`: a press alone leads to the session, too."""

    def __init__(self, *, on_click: bool = True, page_first: bool = False, is_secure: bool = True) -> None:
        self.now = datetime(2026, 11, 22, 12, 3, tzinfo=UTC)
        self.behind = timedelta(0)  # the process's clock: its machine has stood still
        self.is_secure = is_secure
        self.landings, self.woken = Landings(), list[WakeUp]()
        self.readiness = SimpleNamespace(why_not=None)
        self.keyring = Keyring([new_key()])
        # A page that is not over TLS leads to a provider that is played here, over two hosts.
        brand = BRAND if is_secure else replace(BRAND, logo="")
        looks = {"": brand, "nova": NOVA}
        pages = {
            name: Pages(Library.read(None), locale="en", brand=look, sender_name=look.name)
            for name, look in looks.items()
        }
        parts: Any = self  # the parts that are scripted here
        hosts = {"kyc": ["ivs.idenfy.com", "localhost"]}
        clocks: Any = SimpleNamespace(clock=lambda: self.now - self.behind, database_clock=lambda: self.now)
        shared = Shared(clocks, parts.readiness, _at_once, self.woken.append, body_seconds=5)
        routes = StableRoutes(
            shared=shared,
            hosts=hosts,
            on_click=on_click,
            page_first=page_first,
            landings=parts.landings,
            visitors=Visitors(self.keyring, is_secure=False),  # cookies come back over the test's http
            pages=pages,
            is_secure=is_secure,
            waiting=SimpleNamespace(),  # type: ignore[arg-type] -- no answer waits here
        )
        self.application = web.Application()
        router = self.application.router
        routes.add_to(router)
        router.add_get("/provider", self._redirect)
        router.add_get("/provider/capture", self._capture)
        self._clients: list[TestClient[Any, Any]] = []

    async def __aenter__(self) -> "LandingSite":
        self.server = TestServer(self.application)
        await self.server.start_server()
        if not self.is_secure:
            self.landings.session = str(self.server.make_url("/provider").with_host("localhost"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.session.close()
        await self.server.close()

    async def _redirect(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(self.server.make_url("/provider/capture").with_host("127.0.0.1"))

    async def _capture(self, request: web.Request) -> web.Response:
        return web.Response(text="<h1>Played provider</h1>", content_type="text/html")

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def visitor(self, agent: str = "Mozilla/5.0", **headers: str) -> "Caller":
        client: TestClient[Any, Any] = TestClient(self.server, cookie_jar=CookieJar(unsafe=True))
        self._clients.append(client)
        return Caller(
            self, client, {"User-Agent": agent} | {name.replace("_", "-"): one for name, one in headers.items()}
        )


class Caller:
    """One browser, or one program: its cookies, its headers, and the form that it was shown last."""

    def __init__(self, landing: LandingSite, client: "TestClient[Any, Any]", headers: dict[str, str]) -> None:
        self._landing, self._client, self._headers = landing, client, headers
        self.form = ""
        self.forgets = False

    async def ask(self, method: str, path: str = f"/s/{SECRET}", **form: str) -> "Answer":
        if self.forgets:
            self._client.session.cookie_jar.clear()
        asked = self._client.session.request(
            method, self._landing.server.make_url(path), data=form or None, headers=self._headers, allow_redirects=False
        )
        async with asked as answer:
            text = await answer.text()
            if found := FORM.search(text):
                self.form = found[1]
            return Answer(answer.status, text, dict(answer.headers))

    async def get(self, path: str = f"/s/{SECRET}") -> "Answer":
        return await self.ask("GET", path)

    async def press(self, path: str = f"/s/{SECRET}", *, form: str | None = None, seconds: float = 0) -> "Answer":
        """`seconds`: for so long the page is read before."""
        self._landing.pass_time(seconds)
        return await self.ask("POST", path, form=self.form if form is None else form)


class Answer:
    def __init__(self, status: int, text: str, headers: dict[str, str]) -> None:
        self.status, self.text, self.headers = status, text, headers

    @property
    def heading(self) -> str:
        found = re.search(r"<h1>(.*?)</h1>", self.text)
        return found[1] if found else ""


async def _at_once(function: Any, *arguments: Any) -> Any:
    return function(*arguments)
