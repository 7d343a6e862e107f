"""How long a request may wait for the database: a sender's own time-out is shorter than a worker's patience."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa

ANSWER_SECONDS = 5.0


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Ends the block after so long with sqlalchemy's OperationalError, as if the database could not be reached.

    What the block has begun in a thread goes on there, and may succeed.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        late = TimeoutError(f"the database has not answered for {seconds:g} s")
        raise sa.exc.OperationalError(None, None, late, hide_parameters=True) from None
