"""A flush: the one transaction of a dispatcher. It writes results, and then claims the next rows and opens them.

    results → unused slots → budget → permits → lease → gates → slots → attempts

All of it or nothing is in the database, so no call is made while results cannot be written, and a call's attempt is
there before the call. It is the one pipeline of both kinds of row: what a kind gives are its gates and its abstract
methods. And the forms that a row of either kind has from its claim to its written result.
"""

import logging
import random
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

import sqlalchemy as sa

from onboarding_worker.core.budgets import batch_pace, budgets
from onboarding_worker.core.claim.claims import ClaimPolicy, Leased, Room, ask_first, lease, locks_first
from onboarding_worker.core.claim.leases import Leases, Permits
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.encrypted_values import Erased
from onboarding_worker.core.database.outages import SACRIFICED
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.endings import Done, Ending, Kind, Never, NotNow, Problem
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import Session
from onboarding_worker.core.model.states import EVENT
from onboarding_worker.core.rows.row_by_row import Chunk, row_by_row
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, credits_left, is_stopped, under_cap
from onboarding_worker.core.rules.reconciliation import Found, Listed, UnknownCall
from onboarding_worker.core.rules.throughput import Stretch

log = logging.getLogger(__name__)
PolicyT = TypeVar("PolicyT", bound=ClaimPolicy)
NOT_OPENED = uuid.UUID(int=0)


@dataclass(repr=False)  # not frozen: see `model.customers`
class Claimed:
    """A job or a message under our lease. It is opened once its attempt is written: its call may be made, once."""

    id: Any
    job_id: int
    batch_id: int
    fence: int
    attempts: int
    priority: int
    due_at: datetime  # restored if no call is made, so that the row keeps its place in the order of claims
    lease_until: datetime
    probe: bool  # the single call that goes first after a pause
    session_id: uuid.UUID | None
    unknown_call: UnknownCall | None  # look up this call; make no new one
    _: KW_ONLY
    asks_about: str | None = None  # the reference of the session to look up; make no new call
    attempt_id: uuid.UUID = NOT_OPENED  # until it is opened
    repeatable: bool = False  # if the call's outcome is unknown
    reconcile_at: datetime | None = None  # see the attempt's column
    call_before: datetime | None = None  # the end of the day that its credit is of; None: it takes none

    @property
    def is_event(self) -> bool:
        return self.priority == EVENT

    @property
    def looks_up(self) -> bool:
        """True if its call makes nothing at the other side: no session is asked for, and no credit is spent."""
        return self.unknown_call is not None or self.asks_about is not None

    @property
    def reconciles(self) -> uuid.UUID:
        """The attempt that it looks up; its own id: it looks up a session."""
        return self.attempt_id if self.unknown_call is None else self.unknown_call.attempt_id


RowT = TypeVar("RowT", bound=Claimed)


@dataclass(repr=False)  # not frozen: see `model.customers`
class CallResult(Generic[RowT]):
    """The result of one opened call. `ending` None: the call was not made. `found`: what a look-up found.

    A Done for a job has its `session`. A session whose ending is not Done is kept, and no message is written for it.
    """

    row: RowT
    began_at: datetime
    ending: Ending | None
    problem: Problem | None = None
    found: Found | None = None
    needed_no_request: bool = False  # a look-up that was decided without one
    session: Session | None = None
    floor: timedelta | None = None  # the freshness floor of the new session's link
    token_digest: str | None = None  # the hash by which its token is known again
    repeats: bool = False  # another customer has what the answer has, so nothing of it is kept (`repeated_answers`)
    news: Listed | None = None  # what the provider's list says about the session that the job asks for
    reference: str = ""  # the sender's id of the message
    segments: int = 1  # the texts that the message is charged as
    template: str = ""  # `Message.digest`; "": none was made

    @property
    def called(self) -> bool:
        """Whether the call was made; False: `call` found that it may not, or need not, be made."""
        return self.ending is not None and not self.needed_no_request

    @property
    def succeeded(self) -> bool:
        """Whether the call did what it was made for: there is a session, or the message left."""
        # A look-up for a job that has ended is done as well, with what it found and no session.
        return self.session is not None or (isinstance(self.ending, Done) and self.found is None)

    @property
    def is_conclusive(self) -> bool:
        """Whether it settles an unknown outcome. A call that was not made settles it too."""
        return (
            self.ending is None
            or self.succeeded
            or (self.problem is not None and self.problem.kind is not Kind.UNKNOWN)
        )


@dataclass(frozen=True)
class Flushed(Generic[RowT]):
    """What a flush has claimed: rows under this worker's lease, with their attempts written.

    `slots`: a reserved time for each of these calls, whichever row goes first; none if calls may be made at once.
    `spacing`: the least time between two calls, as the account's limit and what was found of it are now.
    `again_at`: when to claim again; None: nothing more is due, or a person must act. `permits`: how many calls may be
    in flight from now on; None: as many as before. `channels`: those on which messages became due.
    """

    opened: Sequence[RowT] = ()
    again_at: datetime | None = None
    permits: int | None = None
    slots: Sequence[datetime] = ()
    channels: frozenset[str] = frozenset()
    spacing: timedelta = timedelta(0)


class UnknownFlush(Exception):
    """A flush that opened rows has an unknown outcome: these rows may be under this worker's lease, or not.

    `error`: the database's, which is an outage.
    """

    def __init__(self, opened: Sequence[Any], error: sa.exc.OperationalError) -> None:
        super().__init__("the outcome of a flush is unknown: the database's answer was lost")
        self.opened = opened
        self.error = error


@dataclass(frozen=True)
class Flush(Generic[PolicyT]):
    """What all steps of one flush share: its transaction, and when it began."""

    connection: sa.Connection
    keyring: Keyring
    policy: PolicyT
    now: datetime


# The rows that a gate keeps back, each with what becomes of it; None: the gate has written that itself.
Kept = Mapping[Any, NotNow | None]
Gate = Callable[[Any, Sequence[Any]], Kept]
# Gates in their order, each with whether it concerns any of the rows of a claim; None: it finds that out itself.
Gates = Sequence[tuple[Gate, Callable[[Any, Sequence[Any]], bool] | None]]
OneT = TypeVar("OneT")


def through(gates: Gates, claim: Any, asked: Sequence[OneT]) -> tuple[Sequence[OneT], dict[Any, Any]]:
    """What passes these gates, and what they keep back. Each gate is asked about what the earlier ones let pass."""
    stay: dict[Any, NotNow | None] = {}
    for gate in [gate for gate, concerns in gates if concerns is None or concerns(claim, asked)]:
        kept = gate(claim, asked) if asked else {}
        if kept:
            name = getattr(gate, "__name__", "")
            log.debug("%s: %d of %d leased rows stay: %s", claim.policy.claims_for, len(kept), len(asked), name)
            stay.update(kept)
            asked = [one for one in asked if one.id not in kept]  # type: ignore[attr-defined]
    return asked, stay


class Rows(ABC, Generic[PolicyT, RowT]):
    """The rows of one kind, jobs or messages, for one process: its table, its gates, and what it writes.

    Each method that gets a `Flush` is a part of its transaction. A claim's rows pass all gates in their order, whatever
    made them due: first those that need no personal data, then those that are asked of decrypted rows, and last those
    after which a row that is kept gives its place in its batch's pace back.
    """

    leases: ClassVar[Leases[Any]]
    row_gates: ClassVar[Gates]
    call_gates: ClassVar[Gates] = ()  # of each call, whatever it is for
    gates: ClassVar[Gates]
    gates_after_the_pace: ClassVar[Gates]
    # (claim, item): whether the gates are asked about it; never about a look-up, which is made at any hour
    is_asked_about: Callable[..., bool] = staticmethod(lambda _claim, _item: True)
    pace: ClassVar[Any]  # the column of the plan that says when the next place is
    # (connection, rows with an unknown outcome, now): by row, the call to look up
    unknown_calls: Callable[..., Mapping[Any, UnknownCall]]
    places_of: Callable[..., list[batch_pace.PacedRow]]  # (claim, items): what they take of their batches' pace
    locks_counts: Callable[[Any], bool] = staticmethod(lambda _policy: False)  # whether a gate locks a country's count

    def __init__(self, database: Database, keyring: Keyring, *, jitter: Callable[[], float] = random.random) -> None:
        self._database, self._keyring = database, keyring
        self._jitter, self._permits = jitter, Permits()

    @abstractmethod
    def record(self, flush: Flush[PolicyT], results: Sequence[CallResult[RowT]]) -> set[str]:
        """Write results. Returns the channels on which messages are due now."""

    def passed(self, claim: Any, rows: Sequence[sa.Row[Any]], _leased: Leased) -> tuple[list[RowT], frozenset[str]]:
        """Which of these leased rows pass all gates, and the channels on which messages became due.

        The others are released, each with what becomes of it. `claim`: what the gates share, which is the flush; a kind
        may pass its own one on, with more in it.
        """
        usual, stay = through(self.row_gates, claim, rows)
        items, unread = self.read(claim, usual)
        calls, refused = through(self.call_gates, claim, [item for item in items if not item.looks_up])
        asked, kept = through(self.gates, claim, [item for item in calls if self.is_asked_about(claim, item)])
        _, too_late = through(self.gates_after_the_pace, claim, asked)
        if too_late and (places := self.places_of(claim, [item for item in asked if item.id in too_late])):
            batch_pace.give_back(claim.connection, places, type(self).pace)
        stay = {**stay, **unread, **refused, **kept, **too_late}
        if not_now := {id_: why for id_, why in stay.items() if why is not None}:
            self.keep_back(claim, rows, not_now)
        return [item for item in items if item.id not in stay], frozenset()

    def read(self, claim: Any, rows: Sequence[sa.Row[Any]]) -> tuple[list[RowT], dict[Any, NotNow]]:
        """The claimed rows, decrypted; and those that cannot be decrypted: these may block no others."""
        unknown = [row for row in rows if row.unknown_attempt is not None]
        unknown_calls = self.unknown_calls(claim.connection, unknown, now=claim.now) if unknown else {}
        items: list[RowT] = []
        stay: dict[Any, NotNow] = {}
        for row in rows:
            try:
                items.append(self.decrypted(claim, row, unknown_calls.get(row.id)))
            except CannotDecrypt as error:
                stay[row.id] = Never(self.leases.states.HELD, Reason.CANNOT_DECRYPT, str(error))
            except Erased as error:
                stay[row.id] = Never(self.leases.states.FAILED, Reason.ERASED, str(error))
        return items, stay

    @abstractmethod
    def decrypted(self, claim: Any, row: sa.Row[Any], unknown_call: UnknownCall | None) -> RowT:
        """The claimed row. Raises keyring.CannotDecrypt, encrypted_values.Erased."""

    @abstractmethod
    def keep_back(self, claim: Any, rows: Sequence[sa.Row[Any]], stay: Mapping[Any, NotNow]) -> None:
        """Release the leased rows that do not pass, one or more."""

    @abstractmethod
    def open(self, flush: Flush[PolicyT], items: Sequence[RowT]) -> list[RowT]:
        """Write the attempts. Items that are not returned are settled or released."""

    @abstractmethod
    def set_aside(self, connection: sa.Connection, kinds: Mapping[Any, str], *, now: datetime) -> None:
        """Hold waiting rows that cannot be claimed. `kinds`: the kind of exception of each."""

    @abstractmethod
    def uncount(self, flush: Flush[PolicyT], items: Sequence[RowT]) -> None:
        """Take back what the claim of these rows counted: they are released."""

    def release_leased(self, flush: Flush[PolicyT], items: Sequence[RowT]) -> None:
        """Release rows that this transaction has leased. They are due as before."""
        self.leases.release_leased(flush.connection, [item.id for item in items], now=flush.now)
        self._released(flush, items)

    def release(self, policy: PolicyT, items: Collection[RowT], *, now: datetime) -> None:
        """Release opened rows for which no call was made. They are due as before; nothing is counted."""
        with self._database.write() as connection:
            leases = [(item.id, item.fence, item.lease_until) for item in items]
            ours = self.leases.release_opened(connection, leases, now=now)
            flush = Flush(connection, self._keyring, policy, now)
            self._released(flush, [item for item in items if item.id in ours])

    def _released(self, flush: Flush[PolicyT], items: Sequence[RowT]) -> None:
        budgets.end_probe(flush.connection, flush.policy.rule, items)
        self.uncount(flush, items)

    def workable(
        self,
        due: Iterable[str],
        rules: Mapping[str, BudgetRule],
        states: Mapping[str, BudgetState],
        only_batch: int | None,
        *,
        now: datetime,
    ) -> list[str]:
        """Those of these accounts or channels that may work what is due: they are neither paused nor stopped.

        One that is stopped at its cap makes the calls that cost no credit: it is among them if one of these is due.
        """
        found = []
        for name in sorted(due):
            state, rule = states[rules[name].name], rules[name]
            at_cap = state.stopped_at is not None and credits_left(state, rule) == 0
            if at_cap:
                state = under_cap(state, replace(rule, credits=None))
            may_call = not is_stopped(state, now=now) and state.paused_until(now) is None
            if may_call and at_cap:
                with self._database.read() as connection:
                    may_call = self.leases.is_due(connection, name, free=True, only_batch=only_batch, now=now)
            found += [name] if may_call else []
        return found

    @property
    def database_time(self) -> Callable[[], datetime] | None:
        """The database's time, a blocking call; None: leases are not checked by it."""
        return self._database.now if self._database.has_own_time else None

    def flush(
        self,
        policy: PolicyT,
        results: Sequence[CallResult[RowT]],
        room: Room | None,
        *,
        clock: Clock,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[RowT]:
        """Write these results, and claim and open the rows for which there is `room`; None: claim nothing.

        `unused`: slots in which no call is made. `stretch`: a busy stretch of calls that has ended, for the measured
        pace. The time is read where the transaction begins: the process may have stood still on its way there.
        Raises UnknownFlush, or sqlalchemy.exc.OperationalError if it opened no rows.
        """
        opened: list[RowT] = []

        def work(connection: sa.Connection, chunk: Chunk) -> Flushed[RowT]:
            opened.clear()
            this = Flush(connection, self._keyring, policy, clock())
            # A claim's first question reads the budget, which results need too. One of an event may make it due again.
            early = bool(results) and not any(each.row.is_event for each in results)
            if early and room is not None and not locks_first(self._permits, policy, room):
                first = ask_first(connection, self.leases, policy, now=this.now)
            else:
                first = None
            if stretch is not None:
                budgets.measure(connection, policy.rule, stretch, now=this.now)
            channels = self.record(this, results) if results else set()
            if unused:
                budgets.release_slots(connection, policy.rule, unused)
            if room is None:
                return Flushed(channels=frozenset(channels))
            asked = (connection, self.leases, self._permits, policy, room)
            leased = lease(*asked, jitter=self._jitter(), now=this.now, first=first)
            # Where a gate locks a row that all workers share, the budget's row is locked before it, as in a claim that
            # has locked it already: else two workers could wait for each other.
            shares = bool(leased.rows) and (self.locks_counts(policy) or any(row.planned for row in leased.rows))
            if shares:
                budgets.lock(connection, policy.rule)
            items, due = self.passed(this, chunk.of(leased.rows), leased)
            reserved = leased.reserve(connection, len(items), sum(item.is_event for item in items), now=this.now)
            if leased.granted.probe:
                items = [replace(item, probe=True) for item in items]
            if reserved.count < len(items):  # other workers' calls got the slots
                self.release_leased(this, items[reserved.count :])
                items = items[: reserved.count]
            if items:
                opened.extend(self.open(this, items))
                if not_used := reserved.slots[len(opened) :]:
                    budgets.release_slots(connection, policy.rule, not_used)
            return Flushed(
                list(opened),
                reserved.again_at,
                leased.permits,
                reserved.slots[: len(opened)],
                due | channels,
                reserved.spacing,
            )

        try:
            return row_by_row(
                self._database,
                f"claim for {policy.claims_for}",
                work,
                lambda connection, kinds: self.set_aside(connection, kinds, now=clock()),
            )
        except sa.exc.OperationalError as error:
            # If PostgreSQL ended the transaction to resolve a deadlock, the rows are not ours.
            if opened and getattr(error.orig, "sqlstate", None) not in SACRIFICED:
                raise UnknownFlush(opened, error) from error
            raise

    def release_permits(self, policy: PolicyT) -> None:
        """Release the permits of this account or sender: no further call is made."""
        with self._database.write() as connection:
            self._permits.release(connection, policy.rule, policy.permit_owner)
