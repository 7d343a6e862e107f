"""Makes a sender's call with its token, and once more after a 401 if the token has been replaced in its file."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from worker.core.model.endings import Kind, Problem
from worker.senders.contract import Broken, Caller, HttpAnswer, HttpRequest, MayWrite, Token

Read = TypeVar("Read")


async def ask(
    http: Caller,
    token: Token,
    build: Callable[[str], HttpRequest],
    read: Callable[[HttpAnswer | Broken], Read | Problem],
    *,
    timeout: timedelta,  # noqa: ASYNC109
    may_write: MayWrite | None = None,
) -> Read | Problem:
    """What `read` makes of the answer. `build` makes the request with the token's value.

    After an AUTH with status 401 nothing was sent. If the token has been replaced since, one more call is made, also if
    another call read the new token. Both calls share one time-out: the lease has no room for more.
    """
    time = asyncio.get_running_loop().time
    deadline = time() + timeout.total_seconds()
    value = token.reveal()
    answer = read(await http.call(build(value), timeout=timeout, may_write=may_write))
    if not isinstance(answer, Problem) or answer.kind is not Kind.AUTH or answer.status != 401:
        return answer
    token.reload()
    if token.reveal() == value:
        return answer
    left = timedelta(seconds=deadline - time())
    if left < timeout / 2:  # a second call that is cut off early would have an unknown outcome
        return replace(answer, kind=Kind.TRANSIENT, detail=f"{answer.detail}; its token was replaced")
    return read(await http.call(build(token.reveal()), timeout=left, may_write=may_write))
