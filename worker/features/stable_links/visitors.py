"""Knows a visitor again: by a cookie of its own, and by the form that its page holds. Both are signed with the digest
key, so that every web process knows them, and both say when they were made. A form is good for one link and one
visitor. Nothing in them says who the customer is.

And whether a request at a stable link is a customer's, as far as its bytes show (docs/features/stable_links.md): mail
programs and scanners open every link of a mail, some of them in a real browser. A visit of theirs may show the page,
and must buy nothing.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from aiohttp import web

from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.web.signed import Signed

COOKIE = "visit"
KEPT = timedelta(hours=12)


@dataclass(frozen=True)
class Visitor:
    """One browser, as far as its cookie shows. `is_new`: this answer gives it the cookie."""

    name: str
    first_seen: datetime
    is_new: bool = False

    def comes_back(self, *, now: datetime) -> bool:
        return not self.is_new and now - self.first_seen >= COMES_BACK


class Visitors:
    """`is_secure`: the cookie comes back over TLS alone."""

    def __init__(self, keyring: Keyring, *, is_secure: bool) -> None:
        self._is_secure = is_secure
        self._signed = Signed(keyring, "visitor of a stable link", KEPT)
        self._forms = Signed(keyring, "form of a stable link", KEPT)

    def of(self, cookie: str, *, now: datetime) -> Visitor:
        """The visitor with this cookie; a new one if it is not one of ours, or too old."""
        found = self._signed.read(cookie, now=now)
        return Visitor(*found) if found is not None else Visitor(secrets.token_urlsafe(16), now, is_new=True)

    def known(self, answer: web.Response, visitor: Visitor) -> web.Response:
        """The answer, with the visitor's cookie if it has none."""
        if visitor.is_new:
            value = self._signed.text(visitor.name, now=visitor.first_seen)
            kept, secure = int(KEPT.total_seconds()), self._is_secure
            answer.set_cookie(COOKIE, value, max_age=kept, path="/s/", secure=secure, httponly=True, samesite="Lax")
        return answer

    def form(self, visitor: Visitor, secret: str, *, now: datetime) -> str:
        """What the form holds that this visitor is shown now, for this link. The time is in milliseconds,
        rounded up, so that a press never counts too soon."""
        return self._forms.text(str(int(now.timestamp() * 1000) + 1), now=now, of=f"{secret} {visitor.name}")

    def shown_at(self, form: str, visitor: Visitor, secret: str, *, now: datetime) -> datetime | None:
        """When the form was shown to this visitor for this link; None: it was not, or before the visitor's cookie."""
        found = None if visitor.is_new else self._forms.read(form, now=now, of=f"{secret} {visitor.name}")
        return datetime.fromtimestamp(int(found[0]) / 1000, UTC) if found is not None else None


# A page is shown for at least so long before its button counts: a robot posts the form at once.
LEAST = timedelta(seconds=2)
# A page that is older is shown anew.
MOST = timedelta(minutes=30)
# A visitor who comes back after so long has opened the link: scanners visit once, or within moments.
COMES_BACK = timedelta(seconds=30)
ANNOUNCED = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")  # the headers that announce a fetch ahead
LONGEST_AGENT = 1000
# In the User-Agent of programs that fetch links without a click. Phones are called Cubot. A person who reads mail in
# Telegram or Outlook, or scans the picture in a letter, has a browser that names that program.
MACHINES = re.compile(
    "(?<!cu)bot|crawl|spider|preview|safelinks|barracuda|mimecast|proofpoint|urldefense|googleimageproxy"
    "|facebookexternalhit|whatsapp"
)


class Why(StrEnum):
    """Why a request does not count as the customer's."""

    NOT_GET = "it only asks whether the page is there"
    PREFETCH = "the browser, or a program in front of it, fetches the page ahead"
    MACHINE = "its program fetches links without a click"
    NO_VISIT = "its form was made for another visitor, or for another link"
    TOO_SOON = "the page was shown a moment ago"
    TOO_OLD = "the page was shown too long ago"


def why_not_asked(request: web.Request) -> Why | None:
    """Why a visit alone must buy nothing, even where no button is asked for; None: it may."""
    return Why.NOT_GET if request.method != "GET" else _machine(request)


def why_not_pressed(request: web.Request, shown_at: datetime | None, *, now: datetime) -> Why | None:
    """Why a posted form does not count as the customer's press; None: it counts. `shown_at`: when the page with this
    form was shown to this visitor; None: the form does not prove it."""
    if (why := _machine(request)) is not None:
        return why
    if shown_at is None:
        return Why.NO_VISIT
    if now - shown_at < LEAST:
        return Why.TOO_SOON
    return Why.TOO_OLD if now - shown_at > MOST else None


def _machine(request: web.Request) -> Why | None:
    purposes = [value.lower() for name in ANNOUNCED for value in request.headers.getall(name, [])]
    if any("prefetch" in each or "preview" in each for each in purposes):
        return Why.PREFETCH
    agent = request.headers.get("User-Agent", "")[:LONGEST_AGENT].lower()
    return Why.MACHINE if not agent or MACHINES.search(agent) else None
