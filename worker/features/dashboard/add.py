"""Adds the dashboard to the web application: which pages and actions there are."""

from collections.abc import Callable

from aiohttp import web

from worker.core.model.wakeups import Wake
from worker.features.dashboard.contract import Action, Page
from worker.features.dashboard.log_in import Delay, Peer
from worker.features.dashboard.pages import (
    accounts,
    audit,
    batch,
    batch_actions,
    batches,
    customer,
    customer_actions,
    now,
    outgoing,
    refused_actions,
    stop_actions,
)
from worker.features.dashboard.site import Site
from worker.features.dashboard.sources import Sources

# In the order of the navigation.
PAGES: tuple[Page, ...] = (
    now.PAGE,
    batches.PAGE,
    batch.PAGE,
    customer.FIND,
    customer.PAGE,
    customer.CONTACT,
    customer.MESSAGES,
    accounts.PAGE,
    outgoing.PAGE,
    audit.PAGE,
    audit.CHECK,
)
ACTIONS: tuple[Action, ...] = (
    *batch_actions.ACTIONS,
    *customer_actions.ACTIONS,
    *stop_actions.ACTIONS,
    *accounts.ACTIONS,
    *outgoing.ACTIONS,
    *refused_actions.ACTIONS,
)


def add_dashboard(
    application: web.Application,
    sources: Sources,
    *,
    key: str,
    wake: Wake,
    why_not: Callable[[], str | None],
    delay: Delay,
    peer: Peer,
    form_seconds: float,
) -> None:
    """The parameters are those of `Site`."""
    site = Site(
        sources,
        PAGES,
        ACTIONS,
        key=key,
        wake=wake,
        why_not=why_not,
        delay=delay,
        peer=peer,
        form_seconds=form_seconds,
    )
    site.add_to(application)
