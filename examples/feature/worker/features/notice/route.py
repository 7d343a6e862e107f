"""`GET /notice`: the newest notice."""

import sqlalchemy as sa
from aiohttp import web

from onboarding_worker.features.notice.store import notices
from onboarding_worker.runtime.web_application import FeatureRoutes, Shared
from onboarding_worker.web.problems import problem


def add(application: web.Application, shared: Shared) -> None:
    async def get(_request: web.Request) -> web.Response:
        try:
            text = await shared.in_thread(notices.newest, shared.parts.database)
        except sa.exc.OperationalError:
            return problem(503, "the database cannot be used")
        return web.json_response({"notice": text})

    application.router.add_get("/notice", get)


ROUTES = FeatureRoutes(add)
