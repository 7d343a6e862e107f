"""Log-ins: log in with a name and a password, look with the key that `onboard up` prints, log out."""

import logging
import secrets
from urllib.parse import urlencode

from aiohttp import web

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.features.dashboard.passwords import digest_of, is_password
from onboarding_worker.features.dashboard.rendering import page, see
from onboarding_worker.features.dashboard.store.log_ins import LONGEST
from onboarding_worker.features.dashboard.users import Person
from onboarding_worker.features.dashboard.visits import (
    ENTERED,
    KNOWN,
    KNOWN_FOR,
    LOOKER,
    SAID_SECONDS,
    Visits,
    cookie_name,
    drop_cookie,
    form_token,
    is_form_token,
    is_from_here,
    set_cookie,
)
from onboarding_worker.web.events.request_body import form_of
from onboarding_worker.web.problems import REFUSED
from onboarding_worker.web.strangers import Door, Strangers
from onboarding_worker.web.turns import InThread, TooMany

log = logging.getLogger(__name__)

PATH = "/dashboard/log-in"
LEAVE = "/dashboard/log-in/oidc"  # to another site
WRONG = "The name or the password is wrong."
BUSY = "Too many log-ins are being checked. Try again in a few seconds."
PLACES = 2  # passwords that are checked at a time
# The form is open for so long; it has a cookie of its own, so that no other site can log a person in.
FORM, FORM_SECONDS = "_form", 3600


class LogInPage:
    """`issuer`: whether a button leads to an identity provider."""

    def __init__(
        self, visits: Visits, strangers: Strangers, in_thread: InThread, form_seconds: float, issuer: bool
    ) -> None:
        self._visits, self._in_thread, self._strangers = visits, in_thread, strangers
        self._door, self.browser = Door(strangers, "dashboard", PLACES), visits.browser
        self._form_seconds, self._issuer = form_seconds, issuer

    async def show(self, request: web.Request) -> web.StreamResponse:
        return self.form(request, to=local_path(request.query.get("to", "")))

    async def enter(self, request: web.Request) -> web.StreamResponse:
        form = await form_of(request, seconds=self._form_seconds)
        to = local_path(form.get("to", ""))
        if not self._visits.has_users:
            return self.form(request, to=to, status=403)
        secret = request.cookies.get(cookie_name(request, FORM), "")
        ours = bool(secret) and is_form_token(form.get("token", ""), secret)
        if not is_from_here(request.headers) or not ours:
            return self.form(request, to=to, said="The form was too old. Try again.", status=403)
        name, password = form.get("name", "").strip(), form.get("password", "")
        try:
            async with self._door.place(request, target=digest_of(name), browser=self.browser(request, name)):
                user = self._visits.user(name)
                fits = await self._in_thread(is_password, password, user)
                if not fits:
                    request[REFUSED] = "dashboard: name or password"
        except TooMany:
            return self.form(request, to=to, said=BUSY, status=429)
        if user is None or not fits:
            return self.form(request, to=to, said=WRONG, status=403)
        log.info("%s logged in to the dashboard", name)
        return await self.entered(request, Person(name, user.role), to)

    async def look(self, request: web.Request) -> web.StreamResponse:
        """With the key in the address; on to an address without it."""
        if not self._visits.is_key(request.match_info["key"]):
            request[REFUSED] = "dashboard: key"
            return self.form(request, to="/", said="The key is not the one of this process.", status=403)
        return await self.entered(request, LOOKER, "/")

    async def leave(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visits.of(request, by_itself=False)
        form = await form_of(request, seconds=self._form_seconds)
        answer = see(PATH)
        if not is_from_here(request.headers) or (visit is not None and not visit.has_sent(form)):
            return answer  # another site's page sent it
        if visit is not None:
            await self._visits.end(visit)
            self._spend(request)
        drop_cookie(answer, request, of=KNOWN)
        drop_cookie(answer, request)
        answer.headers["Clear-Site-Data"] = '"cache"'
        return answer

    async def entered(self, request: web.Request, person: Person, to: str) -> web.StreamResponse:
        """Begin the visit, and end the one before."""
        secret, known = await self._visits.begin(person)
        before = await self._visits.of(request, by_itself=True)
        if before is not None:
            await self._visits.end(before)
        self._spend(request)  # the browser gets another, and a log-out ends that one
        answer = see(to)
        set_cookie(answer, request, secret, max_age=int(LONGEST.total_seconds()))
        if to != "/":
            set_cookie(answer, request, "1", of=ENTERED, max_age=SAID_SECONDS)
        if known:
            set_cookie(answer, request, known, of=KNOWN, max_age=int(KNOWN_FOR.total_seconds()))
        drop_cookie(answer, request, of=FORM)
        return answer

    def _spend(self, request: web.Request) -> None:
        """The browser's cookie counts no more. Only of who is logged in: a stranger's text is not kept."""
        if known := request.cookies.get(cookie_name(request, KNOWN)):
            self._strangers.standing.spend(known, monotonic())

    def form(self, request: web.Request, *, to: str, said: str = "", status: int = 200) -> web.StreamResponse:
        secret = request.cookies.get(cookie_name(request, FORM)) or secrets.token_urlsafe(32)
        shown = {"to": to, "said": said, "token": form_token(secret), "has_users": self._visits.has_users}
        shown |= {"issuer": self._issuer, "leave": f"{LEAVE}?{urlencode({'to': to})}"}
        answer = page("log_in.html", status=status, title="Log in", **shown)
        set_cookie(answer, request, secret, of=FORM, max_age=FORM_SECONDS)
        return answer


def local_path(given: str) -> str:
    """The path of a page of ours to go on to; "/" for anything else."""
    plain = given.startswith("/") and not given.startswith(("//", "/\\")) and given.isascii() and given.isprintable()
    return given if plain and (given == "/" or given.startswith(("/?", "/dashboard/"))) else "/"
