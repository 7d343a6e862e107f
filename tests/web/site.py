"""The web application as a client meets it."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.core.model.incoming import Event, EventReceipt, Outcome, Received
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.runtime.web_application import CHUNKS, READINESS, app
from onboarding_worker.settings.load import load
from onboarding_worker.settings.outside import hash_of
from onboarding_worker.web.server import AccessLog
from onboarding_worker.wiring.container import Parts
from tests.suite.databases import not_synced
from tests.suite.of_features import of_features
from tests.suite.waiting import ENDS_WITHIN
from tests.web.described import check_answer

SETTINGS = """
[database]
url = "{url}"
[encryption]
keys = [{{ env = "KEY" }}]
[accounts.kyc]
provider = "idenfy-kyc"
api_key = {{ env = "SECRET" }}
api_secret = {{ env = "SECRET" }}
webhook_keys = [{{ env = "HOOK" }}, {{ env = "OLD_HOOK" }}]
[accounts.au]
provider = "frankieone-v2"
api_key = {{ env = "SECRET" }}
customer_id = {{ env = "CUSTOMER" }}
link = "https://verify.example.com/start#token={{token}}"
webhook_secret = {{ env = "PATH_SECRET" }}
[accounts.mute]
provider = "idenfy-kyc"
api_key = {{ env = "SECRET" }}
api_secret = {{ env = "SECRET" }}
[accounts.twin]
provider = "idenfy-kyc"
api_key = {{ env = "SECRET" }}
api_secret = {{ env = "SECRET" }}
webhook_keys = [{{ env = "HOOK" }}]
[[routes]]
accounts = ["kyc"]
[email]
url = "smtp://127.0.0.1:1"
from = "Example Bank <verify@example.com>"
[sms]
account = "AC1"
token = {{ env = "HOOK" }}
from = "+15005550006"
{sms}
{web}
{reports}
"""
REPORTS = "".join(of_features("REPORTS"))
SIGNING = b"second-of-the-keys-of-senders"
FIRST, SECOND = "first-of-the-keys-of-32-characters", "whsec_" + base64.b64encode(SIGNING).decode()
KEYS = """
[web.senders.signup]
keys = [{ env = "FIRST" }, { env = "SECOND" }]
links = true
"""
# Another sender, whose key is known by its hash alone.
THIRD = "third-of-the-keys-of-32-characters"
BILLING = f"""
[web.senders.billing]
keys = ["{hash_of(THIRD)}"]
links = true
"""
HOOKS = {
    "HOOK": "webhook-key-number-one",
    "OLD_HOOK": "webhook-key-number-two",
    "PATH_SECRET": "unguessable-segment-of-a-path",
    "CUSTOMER": "11111111-1111-4111-8111-111111111111",
}
# Not in the file: other keys of [web] are in those of the tests.
HERE = {"ONBOARDING__WEB__BASE_URL": "https://verify.example.com/onboarding"}
DATA = {"customer_id": "C-1", "email": "ona@example.com"}
EVENT = {"specversion": "1.0", "id": "7", "source": "/signup", "type": "onboarding.requested", "data": DATA}
CLOUD = "application/cloudevents+json"


def bytes_of(value: Any) -> bytes:
    return json.dumps(value).encode()


@contextmanager
def renamed(database: Database, table: str, column: str) -> Iterator[None]:
    """A column has another name meanwhile, so that statements fail."""

    def rename(old: str, new: str) -> None:
        with database.write() as connection:
            connection.execute(sa.text(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}"))

    rename(column, "hidden")
    try:
        yield
    finally:
        rename("hidden", column)


class Script:
    """Takes events in as a test says; by default it takes each."""

    def __init__(self) -> None:
        self.chunks: list[list[Event]] = []
        self.answer: Any = lambda event: EventReceipt(Outcome.TAKEN, uuid.uuid4())
        self.due: frozenset[WakeUp] = frozenset({WakeUp.issue("kyc")})

    def __call__(self, events: Sequence[Event]) -> Received:
        self.chunks.append(list(events))
        return Received([self.answer(event) for event in events], self.due)

    @property
    def events(self) -> list[Event]:
        return [event for chunk in self.chunks for event in chunk]


class Site:
    def __init__(
        self,
        url: str,
        directory: Path,
        clock: Any,
        *,
        keys: str = KEYS,
        sms: str = "",
        reports: str = REPORTS,
        scripted: bool = True,
        key: str | None = None,
        **how: Any,
    ) -> None:
        (directory / "onboarding.toml").write_text(SETTINGS.format(url=url, web=keys, sms=sms, reports=reports))
        environ = {"KEY": key or new_key(), "SECRET": "0000", "FIRST": FIRST, "SECOND": SECOND} | HOOKS | HERE
        self.parts = Parts(load(directory / "onboarding.toml", environ=environ), clock=clock)
        not_synced(self.parts.database)
        self.clock = clock
        self.script = Script()
        self.woken: list[WakeUp] = []
        self.app = app(self.parts, wake=self.woken.append, receive=self.script if scripted else None, **how)
        self.root = self.app
        self.prefix = ""

    @property
    def gathered(self) -> int:
        """How many events wait for the chunk before them."""
        return sum(map(len, self.app[CHUNKS]._waiting.values()))

    def look_at_the_database(self) -> None:
        self.app[READINESS].look()

    def mounted(self, prefix: str) -> "Site":
        """The same, mounted in another application."""
        self.root, self.prefix = web.Application(), prefix
        self.root.add_subapp(prefix, self.app)
        return self

    async def __aenter__(self) -> "Site":
        server = TestServer(self.root)
        await server.start_server(
            lingering_time=0.05, access_log_class=AccessLog, access_log=logging.getLogger("access")
        )
        self.client = TestClient(server)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        self.parts.close()

    async def post(
        self, event: Any = EVENT, *, key: str | None = FIRST, content_type: str | None = CLOUD, **headers: str
    ) -> "Answer":
        """`event` as JSON, or bytes as they are. Headers are named with _ for -."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        if content_type is not None:
            given["Content-Type"] = content_type
        body = event if isinstance(event, bytes) else bytes_of(event)
        async with self.client.post(f"{self.prefix}/events", data=body, headers=given) as response:
            answer = await Answer.of(response)
        if answer.status != 500:
            check_answer("post", "/events", answer)
        return answer

    async def get(self, path: str, *, key: str | None = FIRST, **headers: str) -> "Answer":
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        async with self.client.get(path, headers=given) as response:
            answer = await Answer.of(response)
        route = path.removeprefix(self.prefix)
        if route in ("/healthz", "/readyz") or route.startswith("/events/"):
            check_answer("get", "/events/{id}" if route.startswith("/events/") else route, answer)
        return answer

    def signed(self, body: bytes, *, key: bytes = SIGNING, late: float = 0.0, **changes: str) -> dict:
        """The headers of Standard Webhooks."""
        given = {"webhook_id": "msg_1", "webhook_timestamp": str(int(self.clock().timestamp() - late))} | changes
        content = f"{given['webhook_id']}.{given['webhook_timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return {"webhook_signature": f"v1,{mac}"} | given


async def until(holds: Callable[[], bool]) -> None:
    """Let other tasks run until it holds."""
    async with asyncio.timeout(ENDS_WITHIN):
        while not holds():  # noqa: ASYNC110 -- what is looked at is no event
            await asyncio.sleep(0.002)


async def status_of(client: TestClient[Any, Any], path: str, headers: Sequence[tuple[str, str]], body: bytes) -> int:
    """The status of a POST with exactly these headers: a client of aiohttp sends each name only once."""
    reader, writer = await asyncio.open_connection(client.server.host, client.server.port)
    given = [("Host", "x"), *headers, ("Content-Length", str(len(body))), ("Connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in given)
    writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


class Answer:
    def __init__(self, status: int, headers: Any, body: Any) -> None:
        self.status, self.headers, self.body = status, headers, body

    @classmethod
    async def of(cls, response: Any) -> "Answer":
        return cls(response.status, response.headers, await response.json(content_type=None))

    def problem(self, status: int) -> str:
        """The detail, of an answer that must say what is wrong in the form of RFC 9457."""
        assert (self.status, self.headers["Content-Type"].partition(";")[0]) == (status, "application/problem+json")
        assert self.body["status"] == status
        assert self.body["title"]
        assert self.body["problems"]
        assert all(set(one) == {"column", "problem", "hint"} for one in self.body["problems"])
        return self.body["detail"]
