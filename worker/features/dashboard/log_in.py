"""Log-ins: log in with a name and a password, look with the key that `onboard up` prints, log out."""

import logging
import secrets
from urllib.parse import urlencode

from aiohttp import web

from onboarding_worker.features.dashboard.passwords import LONGEST_PASSWORD, PasswordChecks, digest_of
from onboarding_worker.features.dashboard.rendering import page, see
from onboarding_worker.features.dashboard.store.log_ins import LONGEST
from onboarding_worker.features.dashboard.users import Person
from onboarding_worker.features.dashboard.visits import (
    ENTERED,
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
from onboarding_worker.web.middlewares import Refusals
from onboarding_worker.web.problems import REFUSED
from onboarding_worker.web.turns import TooMany

log = logging.getLogger(__name__)

PATH = "/dashboard/log-in"
LEAVE = "/dashboard/log-in/oidc"  # to another site
WRONG = "The name or the password is wrong."
BUSY = "Too many log-ins are being checked. Try again in a few seconds."
# The form is open for so long; it has a cookie of its own, so that no other site can log a person in.
FORM, FORM_SECONDS = "_form", 3600


class LogInPage:
    """`refusals`: counts a refused log-in by its address, and by the name whose password was guessed, logs it, and
    waits. `issuer`: whether a button leads to an identity provider."""

    def __init__(
        self, visits: Visits, checks: PasswordChecks, refusals: Refusals, form_seconds: float, issuer: bool
    ) -> None:
        self._visits, self._checks, self._refusals = visits, checks, refusals
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
        user = self._visits.user(name)

        async def delay() -> None:
            # A password that is too long is not hashed: nothing would bound how many of them wait.
            guessed = digest_of(name) if len(password) <= LONGEST_PASSWORD else ""
            await self._refusals.delay(request, "dashboard: name or password", name=guessed)

        try:
            fits = await self._checks.fits(name, password, user, delay, self._refusals.peer(request))
            if user is None or not fits:
                return self.form(request, to=to, said=WRONG, status=403)
        except TooMany:
            request[REFUSED] = "dashboard: too many log-ins at once"
            return self.form(request, to=to, said=BUSY, status=429)
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
        drop_cookie(answer, request)
        answer.headers["Clear-Site-Data"] = '"cache"'
        return answer

    async def entered(self, request: web.Request, person: Person, to: str) -> web.StreamResponse:
        """Begin the visit, and end the one before."""
        secret = await self._visits.begin(person)
        before = await self._visits.of(request, by_itself=True)
        if before is not None:
            await self._visits.end(before)
        answer = see(to)
        set_cookie(answer, request, secret, max_age=int(LONGEST.total_seconds()))
        if to != "/":
            set_cookie(answer, request, "1", of=ENTERED, max_age=SAID_SECONDS)
        drop_cookie(answer, request, of=FORM)
        return answer

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
