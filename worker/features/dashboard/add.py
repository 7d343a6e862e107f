"""Which pages and actions there are."""

from aiohttp import web

from worker.features.dashboard.contract import DASHBOARD_PARTS, Action, Page, Part
from worker.features.dashboard.pages import (
    accounts,
    audit,
    batch,
    batch_actions,
    batches,
    customer,
    customer_actions,
    message_tests,
    now,
    on_call,
    outgoing,
    reports,
    stop_actions,
)
from worker.features.dashboard.site import Site
from worker.runtime.web_application import Shared

# In the order of the navigation.
PAGES: tuple[Page, ...] = (
    now.PAGE,
    on_call.PAGE,
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
    *message_tests.ACTIONS,
    *customer_actions.ACTIONS,
    *stop_actions.ACTIONS,
    *accounts.ACTIONS,
    *outgoing.ACTIONS,
)
HERE = "worker.features.dashboard"


def add(application: web.Application, shared: Shared, *, key: str) -> None:
    """`key`: see `Visits`."""
    ours = Part(package=HERE, pages=PAGES, actions=ACTIONS, downloads=reports.DOWNLOADS)
    site = Site(shared, [ours, *DASHBOARD_PARTS.offered()], key=key)
    site.add_to(application)
