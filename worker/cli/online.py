"""Whether the senders and the providers of a list answer, asked with calls that send nothing and cost nothing.

A provider without such a call is only connected to: a wrong address and a bad certificate show there, too.
"""

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

from onboarding_worker.core.model.customers import Customer
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import Broken, HttpRequest
from onboarding_worker.core.model.sessions import SessionRequest
from onboarding_worker.wiring.container import Parts

if TYPE_CHECKING:
    from onboarding_worker.http.client import Http

WORKS = "works"
USED_UP = "works, and its limit is used up now"
NOT_ASKED = "can be reached; not asked more: its provider has no call that opens nothing"
# Customers' ids come from the list: a look-up of this one finds none.
NOBODY = SessionRequest(Customer("onboard-check-online"), "")


async def answers_of(
    parts: Parts, accounts: Collection[str], channels: Collection[str]
) -> dict[str, Problem | str | None]:
    """By sender and account: the problem, NOT_ASKED, or None where it works."""
    from onboarding_worker.http.client import Http, open_http_session  # here: aiohttp takes a quarter of a second

    senders = {channel: parts.senders[channel] for channel in channels}
    names = [*senders, *sorted(accounts)]
    try:
        async with open_http_session() as session:
            http = Http(session, parts.trust)
            asked = [_log_in(parts, account, http) for account in sorted(accounts)]
            answers = await asyncio.gather(*(sender.preflight() for sender in senders.values()), *asked)
    finally:
        for sender in senders.values():
            await sender.close()
    return dict(zip(names, answers, strict=True))


async def _log_in(parts: Parts, account: str, http: "Http") -> Problem | str | None:
    """Look a customer up who does not exist, if the account's provider has a list of its sessions."""
    provider = parts.providers[account]
    request = provider.look_up(NOBODY, page=1)
    if request is None:
        return await _reach(parts, account, http)
    answer = await http.call(request, timeout=parts.accounts[account].timeout)
    if isinstance(answer, Broken):
        return Problem(Kind.TRANSIENT, answer.detail)
    found = provider.read_look_up(answer, NOBODY, now=parts.clock())
    if isinstance(found, Problem) and found.kind is Kind.BAD_INPUT:
        return NOT_ASKED  # the account may not read the list, which says nothing about opening sessions
    return found if isinstance(found, Problem) else None


async def _reach(parts: Parts, account: str, http: "Http") -> Problem | str:
    """Connect to the account's host, with TLS, and write nothing."""
    reached = False

    def write_nothing(_waited: bool) -> bool:
        nonlocal reached
        reached = True
        return False

    nothing = HttpRequest("GET", parts.settings.accounts[account].address, {})
    answer = await http.call(nothing, timeout=parts.accounts[account].timeout, may_write=write_nothing)
    if reached or not isinstance(answer, Broken):
        return NOT_ASKED
    return Problem(Kind.TRANSIENT, answer.detail)


def in_words(answer: Problem | str | None) -> str:
    """WORKS, USED_UP, NOT_ASKED, or the problem."""
    if isinstance(answer, Problem):
        return USED_UP if answer.kind is Kind.RATE_LIMITED else answer.detail
    return WORKS if answer is None else answer
