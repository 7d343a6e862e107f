"""GET /metrics: what Prometheus scrapes, for a key of `[metrics]`. The numbers are those of all processes."""

import asyncio
import hmac
import logging
from collections.abc import Callable, Iterable

import sqlalchemy as sa
from aiohttp import web

from worker.core.database.outages import reason
from worker.core.foundation.clock import monotonic
from worker.core.foundation.outage_log import Outage
from worker.features.metrics.metrics_page import UNREACHABLE, Page, page_of
from worker.features.metrics.section import Metrics
from worker.features.metrics.store import gauges
from worker.runtime.web_application import FeatureRoutes, Shared
from worker.settings.outside import hash_of, is_hash
from worker.settings.secrets import Secret
from worker.web.events.request_body import TWICE, has_credentials_twice
from worker.web.problems import REFUSED, problem
from worker.web.turns import ANSWER_SECONDS, InThread, answered_within
from worker.wiring.container import Parts

log = logging.getLogger(__name__)
# A second scrape within this time gets the same page, and the database is not asked.
KEPT_SECONDS = 1.0


class MetricsRoute:
    """Belongs to one loop."""

    def __init__(self, keys: Iterable[Secret], make: Callable[[], Page], in_thread: InThread) -> None:
        """`make` is a blocking call."""
        self._keys = [key if is_hash(key) else hash_of(key) for key in (one.reveal() for one in keys)]
        self._make, self._in_thread = make, in_thread
        self._page: tuple[float, Page] | None = None
        self._reading = asyncio.Lock()
        self._outage = Outage(log)

    async def get(self, request: web.Request) -> web.Response:
        if not self._keys:
            return problem(404, "not found")
        if has_credentials_twice(request):
            return problem(400, TWICE)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        shown = hash_of(given.strip())
        # A list: all keys are compared, also after one fits.
        fits = [hmac.compare_digest(key, shown) for key in self._keys]
        if scheme.lower() != "bearer" or not any(fits):
            request[REFUSED] = "metrics: no key, or a wrong one"
            return problem(401, "the key is none of [metrics]", headers={"WWW-Authenticate": "Bearer"})
        body, kind = (await self._read()).written(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    async def _read(self) -> Page:
        async with self._reading:  # scrapes at the same time share one look
            if self._page is None or monotonic() - self._page[0] >= KEPT_SECONDS:
                try:
                    async with answered_within(ANSWER_SECONDS):
                        page: Page = await self._in_thread(self._make)
                    self._outage.over("the database is back: metrics are read")
                except sa.exc.OperationalError as error:
                    page = UNREACHABLE
                    what = "the database cannot be used, metrics are not read"
                    self._outage.lasts(what, monotonic(), why=reason(error))
                self._page = (monotonic(), page)
            return self._page[1]


def page_now(parts: Parts) -> Page:
    """What a scrape shows now. Blocks."""
    rules = parts.budget_rules
    configured = gauges.Configured(rules.accounts, rules.channels, parts.targets)
    now = parts.clock()
    return page_of(gauges.read(parts.database, configured, now=now), parts.budgets.all(), configured, now=now)


def add(made: web.Application, shared: Shared) -> None:
    keys = shared.parts.settings.section(Metrics).keys
    made.router.add_get("/metrics", MetricsRoute(keys, lambda: page_now(shared.parts), shared.in_thread).get)


ROUTES = FeatureRoutes(add)
