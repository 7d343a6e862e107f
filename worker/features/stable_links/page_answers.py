"""What a visitor of a stable link sees: a page without scripts for each decision, and the headers that each has."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from worker.features.stable_links.landing import Buy, Decision, Finished, Gone, Lead, Over, Press, Wait
from worker.features.stable_links.store.landings import Seen
from worker.templates.pages import Pages
from worker.templates.values import Screen
from worker.web.problems import PAGE_HEADERS

HEADERS = PAGE_HEADERS | {"X-Robots-Tag": "noindex, nofollow"}
REFRESH_SECONDS, LATER_SECONDS = 2, 60
# After so long a visitor reads what to do, and may close the page.
LONG = timedelta(seconds=30)
MINUTE, SOME_MINUTES = timedelta(minutes=1), timedelta(minutes=10)


class StablePages:
    def __init__(self, pages: Mapping[str, Pages], *, is_secure: bool) -> None:
        """`pages`: by brand. `is_secure`: our links are https. Only on a machine of its own may a page lead to http."""
        self._of_brand = {
            brand: (one, HEADERS | {"Content-Security-Policy": policy(one, is_secure=is_secure)})
            for brand, one in pages.items()
        }

    def answer(
        self, screen: Screen, seen: Seen, *, status: int, accepts: str, headers: Mapping[str, str], **shown: Any
    ) -> web.Response:
        """The page. `seen`: the customer's facts; of nobody where a page shows none. `accepts`: the visitor's
        Accept-Language, for pages without a customer. `shown`: see `Pages.render`. Raises TemplateProblem."""
        # A link that was sent leads on when its brand is no more in the configuration.
        pages, own = self._of_brand.get(seen.brand) or self._of_brand[""]
        locale = seen.locale or pages.locale_of(accepts)
        text = pages.render(screen, locale=locale, template=seen.template, customer_kind=seen.kind, **shown)
        return web.Response(text=text, status=status, content_type="text/html", headers=own | dict(headers))


def policy(pages: Pages, *, is_secure: bool) -> str:
    """The page may load its one style and its logo, and nothing else.

    Browsers hold `form-action` against the whole way of a form: our redirect after a press, and the provider's own
    redirects after it, to hosts that we do not know.
    """
    logo = urlsplit(pages.logo)
    # `data:` is the empty icon. 'none' beside another source is an error, which browsers report on each page.
    images = f"{logo.scheme}://{logo.netloc} data:" if logo.netloc else "data:"
    parts = (
        "default-src 'none'",
        f"style-src 'sha256-{b64encode(sha256(pages.style.encode()).digest()).decode()}'",
        f"img-src {images}",
        "form-action 'self' https:" + ("" if is_secure else " http:"),
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
    return "; ".join(parts)


def screen_of(decision: Decision, *, again: bool, now: datetime) -> Screen:
    """What the page shows. `again`: the button was pressed, and the press did not count."""
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
        case Gone():
            return Screen.GONE
        case Press() | Lead():
            return Screen.AGAIN if again else Screen.ASK


def ready_by(decision: Decision, *, now: datetime) -> datetime | None:
    """Until when a page that waits may wait; None: for some minutes."""
    until = decision.until if isinstance(decision, Wait) else None
    # Rounded up: the page names whole minutes.
    return until + MINUTE if until is not None and until - now > SOME_MINUTES else None


def refresh_of(decision: Decision, screen: Screen, *, address: str) -> dict[str, str]:
    """The header by which a page that waits looks again. `address`: where; "": where it is."""
    if not isinstance(decision, Wait | Buy):
        return {}
    seconds = LATER_SECONDS if screen is Screen.LONG else REFRESH_SECONDS
    return {"Refresh": f"{seconds}; url={address}" if address else str(seconds)}
