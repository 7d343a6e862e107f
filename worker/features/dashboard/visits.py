"""Who visits: log-ins by a cookie, and the key of a page to look at. Ends a log-in whose user has changed. A request
that changes something must come from a page of our own. And what became of an action, for the page that is shown
next."""

import base64
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from hmac import compare_digest, digest
from urllib.parse import urlsplit

from aiohttp import web

from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.features.dashboard.log_in_ways import entry_of
from onboarding_worker.features.dashboard.store.log_ins import SEEN_EVERY, LogIns
from onboarding_worker.features.dashboard.users import OIDC, Dashboard, Person, Role, User
from onboarding_worker.settings.model import Settings
from onboarding_worker.web.middlewares import came_by_tls
from onboarding_worker.web.signed import Signed
from onboarding_worker.web.turns import InThread

# How long an answer of the database counts. A log-out in another process of `onboard web` counts so much later.
KNOWN_SECONDS = 3.0
MOST_KNOWN = 1000
SAID, SAID_SECONDS, LONGEST_SAID = "_said", 60, 1500  # characters
ENTERED = "_entered"  # the first page after a log-in, which any link to the log-in may have named
# A browser in which a user has logged in waits behind no stranger (`web.strangers`), for so long.
KNOWN, KNOWN_FOR = "_known", timedelta(days=30)
LOOKER = Person("", Role.VIEWER)


def is_from_here(headers: Mapping[str, str]) -> bool:
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    host = headers.get("Host", "")
    try:
        return bool(host) and urlsplit(headers.get("Origin", "")).netloc.lower() == host.lower()
    except ValueError:  # it is no address
        return False


def form_token(secret: str) -> str:
    """What each form holds that changes something. `secret`: the person's cookie, which another site's page cannot
    read."""
    return digest(_bytes(secret), b"form", "sha256").hex()


def is_form_token(given: str, secret: str) -> bool:
    return compare_digest(_bytes(given), form_token(secret).encode())


def host_and_port(host: str) -> tuple[str, str]:
    """The parts of a Host header."""
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "", str(parts.port or "")
    except ValueError:
        return "", ""


@dataclass(frozen=True)
class Visit:
    """A request of a person who is logged in. `secret`: the text in the cookie."""

    person: Person
    secret: str
    request: web.Request

    def has_sent(self, form: Mapping[str, str]) -> bool:
        return is_form_token(form.get("token", ""), self.secret)

    @property
    def has_entered(self) -> bool:
        """Whether this may be the first page after the log-in."""
        return bool(self.request.cookies.get(cookie_name(self.request, ENTERED)))

    @property
    def led_here(self) -> str:
        """The request's own address, if something else than a page of ours may have led there: a link of another site
        or in a mail, or the log-in. Browsers of before 2023 do not say which site did."""
        by_us = self.request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin" and not self.has_entered
        return "" if by_us else self.request.path_qs


class Visits:
    """`key`: opens the pages for looking; "": nothing does."""

    def __init__(
        self, log_ins: LogIns, settings: Settings, key: str, keyring: Keyring, clock: Clock, in_thread: InThread
    ) -> None:
        self._log_ins, self._settings, self._key = log_ins, settings, key
        self._users = settings.section(Dashboard).users
        self._browsers = Signed(keyring, "browser of the dashboard", KNOWN_FOR)
        self._clock, self._in_thread = clock, in_thread
        self._known: OrderedDict[str, tuple[float, Person | None]] = OrderedDict()
        self._noted: dict[str, float] = {}  # when the last request was written down

    @property
    def has_users(self) -> bool:
        return self._users.is_given

    def user(self, name: str) -> User | None:
        """The user of this name, in the file as it is now."""
        return self._users.current().get(name)

    def is_key(self, given: str) -> bool:
        return bool(self._key) and compare_digest(_bytes(given), self._key.encode())

    async def of(self, request: web.Request, *, by_itself: bool) -> Visit | None:
        """The visit of this request; None: nobody is logged in. `by_itself`: a live part asks, and not the person."""
        secret = request.cookies.get(cookie_name(request), "")
        if not secret or len(secret) > 100:
            return None
        person = await self._person(secret)
        if person is None:
            return None
        # Pages to look at stay open on a wall for a day. One who may change something must be at the screen.
        if not by_itself or not person.may_change(Role.SERVICE_DESK):
            await self._note_seen(secret)
        return Visit(person, secret, request)

    def browser(self, request: web.Request, name: str) -> str:
        """The cookie of a browser in which this user, or for OIDC somebody whom that way names, has logged in since
        password, role and `[oidc]` are as they are; "": it has none."""
        cookie, now = request.cookies.get(cookie_name(request, KNOWN), ""), self._clock()
        entries = [entry for role in Role if name and (entry := self._entry(name, role))]
        known = (self._browsers.read(cookie, now=now, of=f"{name} {entry}") for entry in entries)
        return cookie if any(known) else ""

    async def begin(self, person: Person) -> tuple[str, str]:
        """Log a person in. Returns the texts of the cookies: of the visit, and of the browser, "" for none."""
        name, secret, entry = person.name, secrets.token_urlsafe(32), self._entry(person.name, person.role)
        now, whose = self._clock(), OIDC if name.startswith(OIDC) else name
        await self._in_thread(lambda: self._log_ins.start(secret, name=name, entry=entry, now=now))
        named = secrets.token_urlsafe(16)
        return secret, self._browsers.text(named, now=now, of=f"{whose} {entry}") if name else ""

    async def end(self, visit: Visit) -> None:
        self._known.pop(visit.secret, None)
        await self._in_thread(self._log_ins.end, visit.secret)

    async def _person(self, secret: str) -> Person | None:
        person: Person | None
        at, person = self._known.get(secret, (0.0, None))
        if secret in self._known and monotonic() - at < KNOWN_SECONDS:
            # An issuer's entry was compared, and the configuration is read at the start.
            if person is None or not person.name or person.name.startswith(OIDC):
                return person
            user = self.user(person.name)  # the file of users is looked at for each request
            return person if user is not None and user.role is person.role else None
        person = await self._in_thread(self._look, secret)
        self._known.pop(secret, None)
        self._known[secret] = (monotonic(), person)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return person

    def _look(self, secret: str) -> Person | None:
        found = self._log_ins.find(secret, now=self._clock())
        if found is None or not found.entry:
            return None
        # With the role that it began with, of the file or of the issuer, while the entry or the section is the same.
        roles = [role for role in Role if found.entry == self._entry(found.name, role)]
        return Person(found.name, roles[0]) if roles else None

    async def _note_seen(self, secret: str) -> None:
        now = monotonic()
        if now - self._noted.get(secret, -SEEN_EVERY.total_seconds()) < SEEN_EVERY.total_seconds():
            return
        self._noted = {one: at for one, at in self._noted.items() if one in self._known}
        self._noted[secret] = now
        await self._in_thread(lambda: self._log_ins.seen(secret, now=self._clock()))

    def _entry(self, name: str, role: Role) -> str:
        """What a log-in counts for: without a name, the key of this process."""
        if name:
            return entry_of(self._settings, name, role)
        return sha256(self._key.encode()).hexdigest() if self._key else ""


def cookie_name(request: web.Request, of: str = "") -> str:
    """With the port: browsers send the cookies of one port of a machine to the others too. By TLS with the prefix that
    lets no other host of the domain set it. `of`: what else than the visit itself it is of, such as `_said`."""
    return f"{'__Host-' if _by_tls(request) else ''}onboard_{host_and_port(request.host)[1]}{of}"


def set_cookie(answer: web.StreamResponse, request: web.Request, value: str, *, of: str = "", max_age: int) -> None:
    """A cookie of this visit: not for scripts, not from other sites, and by TLS only except on this machine."""
    name, secure = cookie_name(request, of), _by_tls(request)
    answer.set_cookie(name, value, path="/", httponly=True, samesite="Lax", secure=secure, max_age=max_age)


def drop_cookie(answer: web.StreamResponse, request: web.Request, *, of: str = "") -> None:
    """With the attributes that it was set with: else a browser keeps one with the prefix."""
    name, secure = cookie_name(request, of), _by_tls(request)
    answer.del_cookie(name, path="/", httponly=True, samesite="Lax", secure=secure)


def _by_tls(request: web.Request) -> bool:
    """Whether a cookie must travel by TLS only: everywhere but on this machine itself."""
    name, _ = host_and_port(request.host)
    return not name or not is_loopback(name) or came_by_tls(request)


def say(answer: web.StreamResponse, visit: Visit, text: str) -> None:
    """For the next page, in a cookie that only the same person's visit can read."""
    written = base64.urlsafe_b64encode(text[:LONGEST_SAID].encode()).decode()
    sealed = f"{written}.{_seal(visit, written)}"
    set_cookie(answer, visit.request, sealed, of=SAID, max_age=SAID_SECONDS)


def what_was_said(visit: Visit) -> str:
    """ "" if nothing was."""
    written, _, seal = visit.request.cookies.get(cookie_name(visit.request, SAID), "").partition(".")
    if not seal or not compare_digest(_bytes(seal), _seal(visit, written).encode()):
        return ""
    return base64.urlsafe_b64decode(written).decode()


def _seal(visit: Visit, written: str) -> str:
    return digest(_bytes(visit.secret), _bytes(f"said {written}"), "sha256").hex()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # a cookie may hold any bytes
