"""What an asyncio task does for one customer: read the row, ask for a session, store the token encrypted.

No connection to the database is held during the call.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from cryptography.fernet import Fernet
from psycopg_pool import AsyncConnectionPool

PLACES = int(os.environ.get("RIVAL_PLACES", "50"))  # calls in flight of one process
CONNECTIONS = 8  # to the database, of one process


class Opening:
    def __init__(self, pool: AsyncConnectionPool, http: aiohttp.ClientSession) -> None:
        self._pool = pool
        self._http = http
        self._fernet = Fernet(os.environ["RIVAL_KEY"])

    async def issue(self, customer_id: str) -> None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute("select country, token from customer where id = %s", [customer_id])
            country, token = await cursor.fetchone()
        if token is not None:
            return
        body = {"clientId": customer_id, "tokenType": "IDENTIFICATION", "country": country}
        async with self._http.post("/api/v2/token", json=body) as answer:
            answer.raise_for_status()
            session = await answer.json()
        kept = self._fernet.encrypt(session["authToken"].encode())
        async with self._pool.connection() as connection:
            await connection.execute(
                "update customer set token = %s, reference = %s, issued_at = now() where id = %s",
                [kept, session["scanRef"], customer_id],
            )


@asynccontextmanager
async def opening() -> AsyncIterator[Opening]:
    async with AsyncExitStack() as exits:
        pool = await exits.enter_async_context(
            AsyncConnectionPool(
                os.environ["RIVAL_DATABASE"],
                min_size=CONNECTIONS,
                max_size=CONNECTIONS,
                kwargs={"autocommit": True},
                open=False,
            )
        )
        http = await exits.enter_async_context(
            aiohttp.ClientSession(
                os.environ["RIVAL_URL"],
                auth=aiohttp.BasicAuth("key", "secret"),
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=10),
            )
        )
        yield Opening(pool, http)


def customers(rows: int) -> list[str]:
    return [f"C-{row}" for row in range(1, rows + 1)]
