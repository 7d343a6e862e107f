"""The dashboard of tests/features/dashboard, and what a worker does about its lists."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import FormData

from tests.features.dashboard.conftest import USERS, each_request_reads, ona, open_site, visit
from tests.features.dashboard.visitor import FROM_HERE, Seen, Visitor
from worker.features.uploads.schedule import Looking

__all__ = ["each_request_reads", "ona", "open_site", "visit"]


@pytest.fixture
async def site(open_site: Callable[..., Any]) -> Any:
    return await open_site()


@pytest.fixture
async def site_of_two(open_site: Callable[..., Any]) -> Any:
    """Two persons must agree."""
    return await open_site(keys=f"{USERS}[uploads]\napprovals = 2\n")


@pytest.fixture
def look() -> Callable[..., None]:
    def looks(site: Any, **how: Any) -> None:
        Looking(site.parts, owner="worker-1", lease=timedelta(seconds=30), **how).look()

    return looks


async def give(visitor: Visitor, content: bytes, name: str = "people.csv", **changes: Any) -> Seen:
    """Upload a file by the form of the page."""
    token = (await visitor.get("/dashboard/lists")).form["token"]
    form = FormData()
    form.add_field("token", changes.get("token", token))
    form.add_field("file", content, filename=name, content_type="text/csv")
    headers = changes.get("headers", FROM_HERE)
    async with visitor.client.post("/dashboard/lists", data=form, headers=headers) as answer:
        return Seen(answer.status, await answer.text(), answer.headers, answer.url.path_qs)
