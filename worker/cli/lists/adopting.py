"""`onboard import --adopt`: asks the provider about each session that another tool opened, before its row is stored.

A look-up costs nothing, and takes a slot of the account's budget as any call. A row is stored with its session in one
transaction, so no worker ever sees it without: nothing can be bought for it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa

from onboarding_worker.cli.exits import Stopped
from onboarding_worker.core.database.job_ids import row_of
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import Broken
from onboarding_worker.core.model.sessions import Session, SessionRequest
from onboarding_worker.core.rules.call_outcomes import CallOutcome
from onboarding_worker.core.rules.reconciliation import MOST_PAGES
from onboarding_worker.http import event_loop
from onboarding_worker.lists.importing.adopting import Told, ended, parted
from onboarding_worker.lists.importing.intake import Intake, judge
from onboarding_worker.lists.lines import AcceptedLine, Line, RefusedLine
from onboarding_worker.lists.store.adopted import Adopted, AdoptedSessions, store
from onboarding_worker.providers.contract import Adopts
from onboarding_worker.wiring.container import Parts

IN_FLIGHT = 10
TRIES = 5
UNKNOWN = FieldProblem(
    "session_reference",
    "the provider lists no such session of the customer",
    "the customer_id must be the client's id at the provider, and the account the one that opened the session",
)
SERVED = FieldProblem(
    "customer_id", "the customer has a live session, or an open row, here", "leave the row out: a second is not needed"
)
TAKEN = FieldProblem("session_token", "another session has this token", "give each customer a session of their own")
MORE = Problem(Kind.TRANSIENT, "another page")


@dataclass(repr=False)
class _Asked:
    """A row whose session is looked up: the next page of the list, and how often that was tried in vain."""

    line: AcceptedLine
    session: Session
    page: int = 1
    tries: int = 0


class Adopting:
    """Judges rows by their sessions, and stores these (`lists.importing.adopting.Adopts`)."""

    def __init__(self, parts: Parts, *, invites: bool) -> None:
        self._parts, self._invites = parts, invites
        self._sessions = AdoptedSessions(parts.database, parts.keyring)
        self._found: dict[int, Adopted] = {}  # by row, until they are stored
        self._seen: set[str] = set()  # tokens of rows that are not stored yet
        self._loop = event_loop.runner()
        self._exits = AsyncExitStack()

    def __enter__(self) -> Self:
        from onboarding_worker.http.client import Http, open_http_session  # here: aiohttp takes a quarter of a second

        self._http = Http(self._loop.run(self._exits.enter_async_context(open_http_session())), self._parts.trust)
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.run(self._exits.aclose())
        self._loop.close()

    def judge(self, lines: Sequence[Line], intake: Intake) -> list[AcceptedLine | RefusedLine]:
        now = self._parts.clock()
        told: dict[int, Told | tuple[FieldProblem, ...]] = {}
        plain: list[Line] = []
        for line in lines:
            if isinstance(line, AcceptedLine):
                line, told[line.row] = parted(line, now=now)
            plain.append(line)
        judged: list[AcceptedLine | RefusedLine] = [judge(intake, line) for line in plain]
        wrong: dict[int, tuple[FieldProblem, ...]] = {}
        asked: list[_Asked] = []
        served = self._sessions.served(
            {(line.customer.customer_id, line.customer.purpose) for line in judged if isinstance(line, AcceptedLine)}
        )
        known = self._sessions.known([one.token for one in told.values() if isinstance(one, Told)])
        for one in judged:
            if isinstance(one, AcceptedLine):
                found = self._candidate(one, told[one.row], served, known)
                if isinstance(found, _Asked):
                    asked.append(found)
                else:
                    wrong[one.row] = found
        for account in sorted({one.line.account for one in asked}):
            wrong |= self._ask(account, [one for one in asked if one.line.account == account])
        self._found |= {one.line.row: (one.line.customer, one.session) for one in asked if one.line.row not in wrong}
        return [
            line.refused(*wrong[line.row]) if isinstance(line, AcceptedLine) and line.row in wrong else line
            for line in judged
        ]

    def _candidate(
        self, line: AcceptedLine, told: Told | tuple[FieldProblem, ...], served: set[Any], known: set[str]
    ) -> _Asked | tuple[FieldProblem, ...]:
        provider, customer = self._parts.providers[line.account], line.customer
        if not isinstance(told, Told):
            return told
        if (customer.customer_id, customer.purpose) in served:
            return (SERVED,)
        if told.token in known or told.token in self._seen:
            return (TAKEN,)
        if not isinstance(provider, Adopts):
            why = provider.no_look_up or "its adapter adopts no sessions"
            return (FieldProblem("account", f"a session cannot be checked there: {why}", "see docs/how-to/adopt.md"),)
        session = provider.adopted(
            SessionRequest(customer, ""), token=told.token, reference=told.reference, expires_at=told.expires_at
        )
        if isinstance(session, str):
            return (FieldProblem("session_token", f"not a token of {line.account}: {session}", "check the column"),)
        self._seen.add(told.token)
        return _Asked(line, session)

    def _ask(self, account: str, asked: list[_Asked]) -> dict[int, tuple[FieldProblem, ...]]:
        """Look the sessions up at the pace of the account's budget; returns the problems by row. Raises Stopped."""
        rule, clock = self._parts.budget_rules.accounts[account], self._parts.clock
        wrong: dict[int, tuple[FieldProblem, ...]] = {}
        left = deque(asked)
        while left:
            if stop := self._parts.emergency_stops.find():
                raise Stopped(f"{stop.in_words}; after `onboard resume --all` the same command goes on")
            granted = self._sessions.slots(rule, min(len(left), IN_FLIGHT, rule.concurrency), now=clock())
            if not granted.slots.count:
                if granted.again_at is None:
                    raise Stopped(f"account {account} is stopped: `onboard account list` says why, and the rest waits")
                time.sleep(min(max((granted.again_at - clock()).total_seconds(), 0.05), 1))
                continue
            now_asked = [(left.popleft(), granted.slots.at(index)) for index in range(granted.slots.count)]
            answers = self._loop.run(self._calls(now_asked))
            outcomes: list[CallOutcome] = []
            for (one, at), answer in zip(now_asked, answers, strict=True):
                problem = answer if isinstance(answer, Problem) else None
                if problem is MORE:
                    one.page += 1
                    left.append(one)
                    problem = None
                elif isinstance(answer, Problem):
                    one.tries += answer.kind is Kind.TRANSIENT
                    # Another call would change nothing.
                    if answer.kind not in (Kind.TRANSIENT, Kind.RATE_LIMITED) or one.tries >= TRIES:
                        raise Stopped(
                            f"account {account}: its sessions cannot be looked up: {answer.detail}\n"
                            "the rows up to here are stored; the same command goes on"
                        )
                    left.append(one)
                elif answer:
                    wrong[one.line.row] = answer
                outcomes.append(CallOutcome(at, problem))
            self._sessions.apply(rule, outcomes, now=clock())
        return wrong

    async def _calls(self, asked: Sequence[tuple[_Asked, datetime]]) -> list[tuple[FieldProblem, ...] | Problem]:
        return list(await asyncio.gather(*(self._call(one, at) for one, at in asked)))

    async def _call(self, one: _Asked, at: datetime) -> tuple[FieldProblem, ...] | Problem:
        """What is wrong with the row; nothing if its session is open. A Problem: not known yet."""
        account, request = one.line.account, SessionRequest(one.line.customer, "")
        provider = self._parts.providers[account]
        await asyncio.sleep(max((at - self._parts.clock()).total_seconds(), 0))
        built = provider.look_up(request, page=one.page)
        if built is None:
            return Problem(Kind.BAD_INPUT, provider.no_look_up)
        answer = await self._http.call(built, timeout=self._parts.accounts[account].timeout)
        if isinstance(answer, Broken):
            return Problem(Kind.TRANSIENT, answer.detail, unreachable=not answer.sent)
        found = provider.read_look_up(answer, request, now=self._parts.clock())
        if isinstance(found, Problem):
            return found
        listed = next((entry for entry in found.entries if entry.reference == one.session.reference), None)
        if listed is not None:
            is_over = bool(listed.result or listed.is_over)
            return (ended(f"the provider says {listed.status}"),) if is_over else ()
        return MORE if found.more and one.page < MOST_PAGES else (UNKNOWN,)

    def store(self, connection: sa.Connection, job_ids: Sequence[int]) -> None:
        adopted = {id_: self._found[row_of(id_)] for id_ in job_ids if row_of(id_) in self._found}
        now, parts = self._parts.clock(), self._parts
        store(connection, parts.keyring, adopted, parts.contact, invites=self._invites, now=now)
