"""Knows a visitor again: by a cookie of its own, and by the form that its page holds. Both are signed with the digest
key, so that every web process knows them, and both say when they were made. A form is good for one link and one
visitor. Nothing in them says who the customer is."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hmac import compare_digest

from aiohttp import web

from worker.core.foundation.keyring import Keyring

COOKIE = "visit"
KEPT = timedelta(hours=12)
_VISITOR, _FORM = "visitor of a stable link", "form of a stable link"
_TOKEN = re.compile(r"([A-Za-z0-9_-]{22})\.(\d{1,12})\.([0-9a-f]{64})")
_STAMP = re.compile(r"(\d{1,15})\.([0-9a-f]{64})")


@dataclass(frozen=True)
class Visitor:
    """One browser, as far as its cookie shows. `is_new`: this answer gives it the cookie."""

    name: str
    first_seen: datetime
    is_new: bool = False


class Visitors:
    """`is_secure`: the cookie comes back over TLS alone."""

    def __init__(self, keyring: Keyring, *, is_secure: bool) -> None:
        self._keyring, self._is_secure = keyring, is_secure

    def of(self, cookie: str, *, now: datetime) -> Visitor:
        """The visitor with this cookie; a new one if it is not one of ours, or too old."""
        found = _TOKEN.fullmatch(cookie)
        if found is not None:
            name, seconds, signature = found.groups()
            at = _time(seconds)
            signed = self._is_signed(_VISITOR, f"{name} {seconds}", signature)
            if signed and at is not None and at <= now < at + KEPT:
                return Visitor(name, at)
        return Visitor(secrets.token_urlsafe(16), now, is_new=True)

    def known(self, answer: web.Response, visitor: Visitor) -> web.Response:
        """The answer, with the visitor's cookie if it has none."""
        if visitor.is_new:
            seconds = int(visitor.first_seen.timestamp())
            value = f"{visitor.name}.{seconds}.{self._signature(_VISITOR, f'{visitor.name} {seconds}')}"
            kept, secure = int(KEPT.total_seconds()), self._is_secure
            answer.set_cookie(COOKIE, value, max_age=kept, path="/s/", secure=secure, httponly=True, samesite="Lax")
        return answer

    def form(self, visitor: Visitor, secret: str, *, now: datetime) -> str:
        """What the form holds that this visitor is shown now, for this link. The time is in milliseconds,
        rounded up, so that a press never counts too soon."""
        stamp = int(now.timestamp() * 1000) + 1
        return f"{stamp}.{self._signature(_FORM, f'{secret} {visitor.name} {stamp}')}"

    def shown_at(self, form: str, visitor: Visitor, secret: str) -> datetime | None:
        """When the form was shown to this visitor for this link; None: it was not."""
        found = _STAMP.fullmatch(form)
        if found is None or visitor.is_new:
            return None
        stamp, signature = found.groups()
        return _time(stamp, 1000) if self._is_signed(_FORM, f"{secret} {visitor.name} {stamp}", signature) else None

    def _signature(self, purpose: str, text: str) -> str:
        return self._keyring.digests(purpose, text)[0]

    def _is_signed(self, purpose: str, text: str, signature: str) -> bool:
        return any(compare_digest(one, signature) for one in self._keyring.digests(purpose, text))


def _time(ticks: str, per_second: int = 1) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(ticks) / per_second, UTC)
    except (OverflowError, ValueError, OSError):
        return None
