"""When a web application has the dashboard: where people can log in, or with a key to look."""

from aiohttp import web

from worker.features.dashboard.log_in_ways import LOG_IN_WAYS
from worker.features.dashboard.section import Dashboard
from worker.runtime.web_application import FeatureRoutes, Shared
from worker.settings.model import Settings


def has_people(settings: Settings) -> bool:
    """Whether people can log in."""
    return settings.section(Dashboard).users.is_given or any(way.is_there(settings) for way in LOG_IN_WAYS.offered())


def _add(application: web.Application, shared: Shared) -> None:
    people = has_people(shared.parts.settings)
    if people or shared.key:
        from worker.features.dashboard.add import add  # imported here: templates, which other applications do not need

        add(application, shared, key="" if people else shared.key)


def _told(settings: Settings, address: str, key: str) -> str:
    return "" if has_people(settings) else f"dashboard, to look at: {address}/dashboard/key/{key}"


ROUTES = FeatureRoutes(_add, told=_told)
