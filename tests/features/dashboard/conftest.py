"""A dashboard over a real database and a real socket, with users, and a batch of two rows that no worker has worked."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import ClientSession, CookieJar
from aiohttp.test_utils import TestClient

from onboarding_worker.core.database.tables import Audit
from onboarding_worker.features.dashboard import site as site_module
from onboarding_worker.features.dashboard import visits
from onboarding_worker.web import strangers
from tests.features.dashboard.visitor import Visitor, users_toml
from tests.web.site import Site

USERS = '[dashboard]\nusers = { file = "users.toml" }\n'
KEY = "the-key-to-look"


@pytest.fixture(autouse=True)
def each_request_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests change what is shown between two requests."""
    monkeypatch.setattr(site_module, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(visits, "KNOWN_SECONDS", 0.0)


@pytest.fixture
async def open_site(tmp_path: Path, clock: Any, sqlite_url: str) -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Starts sites with a dashboard; `users`: the text of the file of users, None: without."""
    async with AsyncExitStack() as stack:

        async def start(users: str | None = "", url: str = sqlite_url, **how: Any) -> Site:
            directory = tmp_path / "site"
            directory.mkdir(exist_ok=True)
            if users is not None:
                (directory / "users.toml").write_text(users or users_toml())
            how = {"keys": "" if users is None else USERS} | how
            return await stack.enter_async_context(Site(url, directory, clock, **how))

        yield start


@pytest.fixture
async def site(open_site: Callable[..., Awaitable[Site]]) -> Site:
    return await open_site()


@pytest.fixture
async def visit(site: Site) -> AsyncIterator[Callable[[], Visitor]]:
    """Makes visitors, each with a browser of its own."""
    async with AsyncExitStack() as stack:
        made: list[TestClient[Any, Any]] = []

        def make(of: Site = site) -> Visitor:
            made.append(TestClient(of.client.server, cookie_jar=CookieJar(unsafe=True)))
            return Visitor(made[-1])

        yield make
        for client in made:
            session: ClientSession = client.session
            await session.close()
        await stack.aclose()


@pytest.fixture
def enter(visit: Callable[..., Visitor]) -> Callable[..., Awaitable[Visitor]]:
    """Logs users in, each with a browser of its own."""

    async def log_in(name: str, *of: Site) -> Visitor:
        visitor = visit(*of)
        await visitor.log_in(name)
        return visitor

    return log_in


@pytest.fixture
async def ona(enter: Callable[..., Awaitable[Visitor]]) -> Visitor:
    """An operator, logged in."""
    return await enter("ona")


@pytest.fixture
async def desk(enter: Callable[..., Awaitable[Visitor]]) -> Visitor:
    """A person of the service desk, logged in."""
    return await enter("desk")


@pytest.fixture
async def vita(enter: Callable[..., Awaitable[Visitor]]) -> Visitor:
    """A viewer, logged in."""
    return await enter("vita")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays of refused log-ins, which are not waited for."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(strangers, "wait", wait)
    return waited


def rows(site: Site, *columns: Any) -> list[tuple[Any, ...]]:
    with site.parts.database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns))]


def audited(site: Site) -> list[tuple[Any, ...]]:
    return rows(site, Audit.actor, Audit.action, Audit.subject, Audit.reason)
