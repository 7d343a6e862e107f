"""Adds the page of stable links to a web application: `/s/ID`."""

from collections.abc import AsyncIterator
from functools import partial

from aiohttp import web

from worker.core.foundation.logs import logged
from worker.features.stable_links.landing import LandingRules
from worker.features.stable_links.page_answers import StablePages
from worker.features.stable_links.routes import StableRoutes
from worker.features.stable_links.section import Links, made
from worker.features.stable_links.store.landings import Landings
from worker.features.stable_links.store.not_me import stop
from worker.features.stable_links.visitors import Visitors
from worker.runtime.web_application import FeatureRoutes, Shared
from worker.settings.policies import orphan_rules
from worker.web.events.link_waiters import Waiting
from worker.wiring.container import Parts


def landings_of(parts: Parts) -> Landings:
    """What visitors of stable links find."""
    follow_up, providers = parts.settings.follow_up, parts.providers
    allowed_from = {name: provider.reissue_at for name, provider in providers.items()}
    rules = LandingRules(follow_up.most, follow_up.per_day, allowed_from, orphan_rules(providers))
    return Landings(parts.database, parts.keyring, rules)


def add(application: web.Application, shared: Shared) -> None:
    """Whatever the mode is now, links that were sent lead on."""
    parts, settings = shared.parts, shared.parts.settings
    if settings.web.base_url is None:
        return
    links, own, landings = settings.section(Links), made(settings), landings_of(parts)
    is_secure = settings.web.base_url.startswith("https:")
    waiting = Waiting(landings.ready, shared.in_thread)
    routes = StableRoutes(
        shared=shared,
        hosts={name: account.link_hosts for name, account in settings.accounts.items()},
        on_click=own is not None and own.on_click,
        page_first=links.page,
        landings=landings,
        not_me=partial(stop, parts.database, parts.keyring),
        visitors=Visitors(parts.keyring, is_secure=is_secure),
        pages=StablePages(parts.link_pages, is_secure=is_secure),
        waiting=waiting,
    )

    async def answer_waiting(_application: web.Application) -> None:
        waiting.close()

    async def log_what_does_not_count(_application: web.Application) -> AsyncIterator[None]:
        async with logged(routes.not_counted):
            yield

    application.on_shutdown.append(answer_waiting)
    application.cleanup_ctx.append(log_what_does_not_count)
    routes.add_to(application.router)


ROUTES = FeatureRoutes(add)
