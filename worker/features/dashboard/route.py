"""When a web application has the dashboard: where people can log in, or with a key to look."""

from aiohttp import web

from onboarding_worker.features.dashboard.log_in_ways import has_people
from onboarding_worker.runtime.web_application import FeatureRoutes, Shared
from onboarding_worker.settings.model import Settings


def _add(application: web.Application, shared: Shared) -> None:
    people = has_people(shared.parts.settings)
    if people or shared.key:
        # Imported here: templates, which other applications do not need.
        from onboarding_worker.features.dashboard.contract import DASHBOARD_PARTS
        from onboarding_worker.features.dashboard.pages import PART
        from onboarding_worker.features.dashboard.site import Site

        parts = [PART, *DASHBOARD_PARTS.offered()]
        Site(shared, parts, key="" if people else shared.key).add_to(application)


def _told(settings: Settings, address: str, key: str) -> str:
    return "" if has_people(settings) else f"dashboard, to look at: {address}/dashboard/key/{key}"


ROUTES = FeatureRoutes(_add, told=_told)
