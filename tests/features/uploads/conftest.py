"""The dashboard of tests/features/dashboard, and what a worker does about its lists."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import FormData

from onboarding_worker.features.uploads.schedule import Looking
from tests.features.dashboard.conftest import USERS, desk, each_request_reads, enter, ona, open_site, visit
from tests.features.dashboard.visitor import FROM_HERE, Seen, Visitor

GOOD = b"customer_id,email,country\nC-1,ona@example.com,LT\nC-2,jonas@example.com,LT\nC-3,no-address,LT\n"
__all__ = ["desk", "each_request_reads", "enter", "ona", "open_site", "visit"]


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


@pytest.fixture
async def checked(site: Any, ona: Visitor, look: Callable[..., None]) -> None:
    """The operator has given a list, and it was checked."""
    await give(ona, GOOD)
    look(site)


@pytest.fixture
async def imported(site: Any, ona: Visitor, look: Callable[..., None], checked: None) -> None:
    """The list was approved as well, and is batch 1."""
    await do(ona, "approve-list")
    look(site)


def needs(site: Any) -> list[tuple[str, str]]:
    """What needs a person, but for the database of a test, which no process works."""
    whole = site.parts.operation.report()
    return [(one.what, one.name) for one in whole.attention if one.what in ("upload", "batch")]


async def do(visitor: Visitor, action: str) -> Seen:
    """As a person does it: by the link on the list's page."""
    page = await visitor.get("/dashboard/lists/1")
    (link,) = [one for one in page.links if f"/do/{action}?" in one]
    return await visitor.do(link, reason="asked by the branch")


async def give(visitor: Visitor, content: bytes, name: str = "people.csv", **changes: Any) -> Seen:
    """Upload a file by the form of the page."""
    token = (await visitor.get("/dashboard/lists")).form["token"]
    form = FormData()
    form.add_field("token", changes.get("token", token))
    form.add_field("file", content, filename=name, content_type="text/csv")
    headers = changes.get("headers", FROM_HERE)
    async with visitor.client.post("/dashboard/lists", data=form, headers=headers) as answer:
        return Seen(answer.status, await answer.text(), answer.headers, answer.url.path_qs)
