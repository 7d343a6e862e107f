"""The two addresses of a log-in at the issuer: where a browser leaves, and where it comes back."""

import logging
from collections import OrderedDict
from dataclasses import replace
from datetime import timedelta
from hmac import compare_digest

from aiohttp import web

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.features.dashboard.log_in import BUSY, LogInPage, local_path
from onboarding_worker.features.dashboard.log_in_ways import LogInRoutes, LogInWay
from onboarding_worker.features.dashboard.rendering import see
from onboarding_worker.features.dashboard.users import OIDC, Person
from onboarding_worker.features.dashboard.visits import cookie_name, drop_cookie, set_cookie
from onboarding_worker.features.oidc.id_token import NotProven
from onboarding_worker.features.oidc.issuer import BACK, Flow, Issuer, Unavailable, flow_of, new_flow
from onboarding_worker.features.oidc.section import Oidc
from onboarding_worker.runtime.web_application import Shared
from onboarding_worker.web.problems import HONEST, REFUSED
from onboarding_worker.web.signed import Signed
from onboarding_worker.web.strangers import Door
from onboarding_worker.web.turns import TooMany

log = logging.getLogger(__name__)

# A person types a password and a second factor meanwhile.
FLOW, FLOW_LASTS = "_oidc", timedelta(minutes=10)
# Codes that are redeemed at the same time: each is a request to the issuer, and a stranger can invent codes.
PLACES, MOST_USED = 20, 10_000
LONGEST_CODE = 4096
NOT_PROVEN = "You were not logged in: the identity provider did not show who you are, or you have no role here."
TOO_OLD = "The log-in was too old, or was begun in another window. Try again."
NO_ANSWER = "The identity provider does not answer as it should. Try again in a moment; the log here says why."


class OidcRoutes:
    """`log_in` shows the form again, and begins the visit."""

    back_at = BACK

    def __init__(self, issuer: Issuer, shared: Shared, log_in: LogInPage) -> None:
        self._issuer, self._clock, self._log_in = issuer, shared.parts.clock, log_in
        self._door = Door(shared.strangers, "dashboard: oidc", PLACES)
        self._flows = Signed(shared.parts.keyring, "log-in at an identity provider", FLOW_LASTS)
        self._used: OrderedDict[str, float] = OrderedDict()
        self._outage = Outage(log, logging.WARNING)

    async def leave(self, request: web.Request) -> web.StreamResponse:
        """Send the browser to the issuer."""
        to = local_path(request.query.get("to", ""))
        flow = new_flow(to)
        try:
            address = await self._issuer.address(flow)
        except Unavailable as error:
            return self._unavailable(request, error, to)
        answer = see(address)
        cookie = self._flows.text(flow.cookie, now=self._clock())
        set_cookie(answer, request, cookie, of=FLOW, max_age=int(FLOW_LASTS.total_seconds()))
        return answer

    async def back(self, request: web.Request) -> web.StreamResponse:
        """Let the person in whom the issuer names. The log-in's cookie is gone afterwards, whatever happened."""
        begun = self._flows.read(request.cookies.get(cookie_name(request, FLOW), ""), now=self._clock())
        answer = await self._came_back(request, flow_of(begun[0]) if begun is not None else None)
        drop_cookie(answer, request, of=FLOW)
        return answer

    async def _came_back(self, request: web.Request, flow: Flow | None) -> web.StreamResponse:
        given = request.query.get("state", "").encode("utf-8", "surrogateescape")
        if flow is None or not compare_digest(given, flow.state.encode()) or not self._is_first(flow):
            request[REFUSED] = "dashboard: oidc: its state is not of this browser"
            return self._log_in.form(request, to="/", said=TOO_OLD, status=403)
        to = local_path(flow.to)
        try:
            async with self._door.place(request, browser=self._log_in.browser(request, OIDC)):
                person = await self._person(request, flow)
        except TooMany:
            return self._log_in.form(request, to=to, said=BUSY, status=429)
        except Unavailable as error:
            return self._unavailable(request, error, to)
        if person is None:
            return self._log_in.form(request, to=to, said=NOT_PROVEN, status=403)
        self._outage.over("the issuer of [oidc] is back: people log in")
        person = replace(person, name=OIDC + person.name)
        log.info("%s logged in to the dashboard", person.name)
        return await self._log_in.entered(request, person, to)

    async def _person(self, request: web.Request, flow: Flow) -> Person | None:
        """None: it is refused. Raises Unavailable."""
        named, given = (await self._issuer.endpoints()).names_itself, request.query.getall("iss", [])
        code = request.query.get("code", "")
        try:
            if (named or given) and given != [self._issuer.oidc.issuer]:  # RFC 9207
                raise NotProven("the answer is of another issuer")
            if "error" in request.query or not code or len(code) > LONGEST_CODE:
                raise NotProven("the issuer did not let the person in")
            return await self._issuer.person(flow, code)
        except NotProven as error:
            request[REFUSED] = f"dashboard: oidc: {error}"
            return None
        except Unavailable:  # some issuers answer so to a code that a stranger has invented
            request[REFUSED], request[HONEST] = "dashboard: oidc: the issuer does not answer as it should", True
            raise

    def _is_first(self, flow: Flow) -> bool:
        """Whether this log-in comes back for the first time, in this process. The issuer redeems each code once too."""
        now = monotonic()
        lasts = FLOW_LASTS.total_seconds()
        while self._used and (len(self._used) >= MOST_USED or now - next(iter(self._used.values())) > lasts):
            self._used.popitem(last=False)
        first = flow.state not in self._used
        self._used.setdefault(flow.state, now)
        return first

    def _unavailable(self, request: web.Request, error: Unavailable, to: str) -> web.StreamResponse:
        self._outage.lasts("log-in at the issuer of [oidc] is not possible", monotonic(), why=str(error))
        return self._log_in.form(request, to=to, said=NO_ANSWER, status=502)

    async def close(self) -> None:
        await self._issuer.close()


def _open(shared: Shared, log_in: LogInPage) -> LogInRoutes:
    oidc = shared.parts.settings.section(Oidc)
    return OidcRoutes(Issuer(oidc, shared.parts.clock), shared, log_in)


LOG_IN_WAY = LogInWay(
    lambda settings: settings.section_if_any(Oidc) is not None,
    _open,
    lambda settings, role: settings.section(Oidc).entry(role),
)
