"""A sandbox for each test, and ways to call it without the adapters."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from onboarding_sandbox import Sandbox, SandboxOptions
from tests.sandbox.customers import ENTITY, FRANKIEONE, KYC, basic
from tests.sandbox.receiver import Receiver, receiving

DAY_A_MILLISECOND = 86_400_000


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **step: float) -> None:
        self.now += timedelta(**step)


class Caller:
    """Calls one sandbox as its customers do. Each call returns status, headers and body."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.http = http

    async def idenfy(
        self,
        body: Any = None,
        *,
        raw: bytes | None = None,
        method: str = "POST",
        path: str = KYC,
        login: str = "sandbox-key:sandbox-secret",
        content_type: str = "application/json",
    ) -> tuple[int, dict[str, str], Any]:
        headers = basic(login) | {"Content-Type": content_type}
        data = raw if raw is not None else json.dumps({"clientId": "c-1"} if body is None else body).encode()
        return await self.ask(method, path, headers=headers, data=data)

    async def listing(self, **query: Any) -> tuple[int, dict[str, str], Any]:
        return await self.ask("GET", "/idenfy/kyc/identifications/", headers=basic(), params=query)

    async def frankieone(
        self,
        body: Any = None,
        *,
        entity: str = ENTITY,
        path: str = "",
        raw: bytes | None = None,
        headers: dict[str, str] = FRANKIEONE,
    ) -> tuple[int, dict[str, str], Any]:
        data = raw if raw is not None else json.dumps(body or {}).encode()
        path = path or f"/frankieone/v2/individuals/{entity}/actions/idv/token"
        return await self.ask("POST", path, headers={"Content-Type": "application/json", **headers}, data=data)

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, str], Any]:
        url = self.sandbox.url + path
        async with self.http.request(method, url, allow_redirects=False, **options) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, dict(answer.headers), json.loads(text) if is_json else text


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def start(clock: SetClock) -> AsyncIterator[Callable[..., Awaitable[Caller]]]:
    """Starts sandboxes with options; all end with the test."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def begin(**options: Any) -> Caller:
            sandbox = await stack.enter_async_context(Sandbox(SandboxOptions(**{"clock": clock, **options})))
            return Caller(sandbox, http)

        yield begin


@pytest.fixture
async def caller(start: Callable[..., Awaitable[Caller]]) -> Caller:
    return await start()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def begin(start: Callable[..., Awaitable[Caller]], receiver: Receiver) -> Callable[..., Awaitable[Caller]]:
    """A sandbox whose customers' time runs fast, and whose webhooks go to the receiver."""

    async def begin(**options: Any) -> Caller:
        chosen = {"time_scale": DAY_A_MILLISECOND, "webhooks": {"": f"{receiver.url}/webhooks"}, "seed": 7, **options}
        return await start(**chosen)

    return begin
