"""Makes pages from templates, and the headers that each of them has."""

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from aiohttp import web
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.features.dashboard.contract import DASHBOARD_PARTS, do
from onboarding_worker.reporting.html_report import segments
from onboarding_worker.web.problems import PAGE_HEADERS

HERE = "onboarding_worker.features.dashboard"
# No script but our files, nothing of any other host, and no page that shows ours in a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = PAGE_HEADERS | {"Content-Security-Policy": POLICY}
ASSETS = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


# In a sentence: a command between backticks, and a time in UTC, as `written` and `in_utc` write it.
_MARKS = re.compile(r"`([^`]+)`|\b(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d:\d\d)Z| (\d\d:\d\d) UTC)")


@cache
def asset(name: str) -> bytes:
    return (files(HERE) / "static" / name).read_bytes()


@cache
def asset_url(name: str) -> str:
    """Its address, which changes with its content: browsers may keep it for ever."""
    return f"/dashboard/static/{name}?v={sha256(asset(name)).hexdigest()[:12]}"


def see(address: str) -> web.Response:
    """Sends the browser to this address."""
    return web.Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})


def page(template: str, *, status: int = 200, **shown: Any) -> web.Response:
    text = _environment().get_template(template).render(**shown)
    return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)


def ago(at: datetime | str, now: datetime) -> str:
    """How long ago, or in how long, in one unit: `5 minutes ago`, `in 2 hours`."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    span = moment - now
    words = in_words(abs(span))
    if abs(span) < timedelta(seconds=2):
        return "now"
    return f"in {words}" if span > timedelta(0) else f"{words} ago"


def in_words(span: timedelta) -> str:
    """A time span in its largest sensible unit."""
    seconds = round(span.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size or (unit != "day" and seconds >= 1.5 * size):
            return counted(round(seconds / size), unit)
    return counted(seconds, "second")


def clock_time(at: datetime | str, now: datetime | None = None, *, exact: bool = False) -> str:
    """`2026-11-20 14:03`, UTC; without the date if it is today's; to the second if it is `exact`, or today's."""
    moment = (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(UTC)
    if now is not None and moment.date() == now.astimezone(UTC).date():
        return f"{moment:%H:%M:%S}"
    return f"{moment:%Y-%m-%d %H:%M:%S}" if exact else f"{moment:%Y-%m-%d %H:%M}"


def marked(sentence: str) -> Markup:
    """The sentence with its commands as code and its times as times, which the script shows in the reader's zone."""

    def mark(found: re.Match[str]) -> str:
        code, day, exact, minute = found.groups()
        return f"<code>{code}</code>" if code else f'<time datetime="{day}T{exact or minute}Z">{found[0]}</time>'

    return Markup(_MARKS.sub(mark, str(escape(sentence))))  # noqa: S704 -- escaped before it is marked


@cache
def _environment() -> Environment:
    packages = HERE, *(one.package for one in DASHBOARD_PARTS.offered())
    loader = ChoiceLoader([PackageLoader(package) for package in packages])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(asset_url=asset_url, counted=counted, do=do, segments=segments)
    environment.filters.update(number=lambda number: f"{number:,}", ago=ago, clock_time=clock_time, words=in_words)
    environment.filters["marked"] = marked
    return environment
