"""Mends, and last checks, that a history can be played without: the simulation must find what each of them prevents.

Each takes out as little as possible. `python -m trials.simulation --without NAME` plays histories like that.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.claim import claims, flush, leases
from onboarding_worker.core.claim.flush import Rows
from onboarding_worker.core.claim.leases import Share
from onboarding_worker.core.database import database
from onboarding_worker.core.dispatch import state as dispatch_state
from onboarding_worker.core.dispatch.calls import SlotGate
from onboarding_worker.core.dispatch.flushes import Flushes
from onboarding_worker.core.foundation.clock import ProcessClock
from onboarding_worker.core.messages import claim_invitations, reminders
from onboarding_worker.core.messages.claim_invitations import Invitations
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import Result
from onboarding_worker.core.rows import in_review
from onboarding_worker.core.rows.row_by_row import Chunk
from onboarding_worker.core.rules import budgets as account_budgets
from onboarding_worker.core.rules import reissue
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, Grant, grant
from onboarding_worker.core.rules.limits import Burst, burst_of
from onboarding_worker.core.upkeep import expired_sessions
from onboarding_worker.core.work.kinds import InviteWork
from onboarding_worker.core.work.store.claim_jobs import Jobs
from onboarding_worker.lists.decisions.store import decisions, emergency_stop
from onboarding_worker.lists.store import added_lines
from onboarding_worker.web.webhooks import session_chain
from onboarding_worker.web.webhooks.session_chain import KnownSession, known_after
from onboarding_worker.wiring import sweep
from trials.simulation import untruths
from trials.simulation.play import Simulation
from trials.simulation.process import WorkerProcess

Replaced = tuple[Any, str, Any]  # where, the name there, and what stands there instead


class WallClock(ProcessClock):
    """The machine's clock, corrected by what was measured last: a step counts until the next measurement."""

    def __init__(self, process: WorkerProcess) -> None:
        super().__init__(process.host.wall_clock, process.steady)
        self._own = process.host.wall_clock
        self._offset = timedelta(0)

    def __call__(self) -> datetime:
        return self._own() + self._offset

    def measured(self, *, before: float, theirs: datetime, after: float) -> None:
        self._offset = theirs - self._own()


class OfProcess:
    """In place of the database's clock, the process's."""

    def __get__(self, process: Any, _kind: Any = None) -> Any:
        return process.clock if process is not None else self


def _in_one_go(database: Any, _name: str, work: Any, _set_aside: Any) -> Any:
    with database.write() as connection:
        return work(connection, Chunk())


def _all_together(*steps: Callable[[], object]) -> None:
    for step in steps:
        step()


async def _unchecked(_self: Any, *_given: Any) -> None:
    pass


def _believes(state: Any, *_rest: Any, **_how: Any) -> Any:
    return state


def _never_stopped(
    *given: Any, asks: Callable[..., budgets.FirstAnswers] = budgets.ask_first, **how: Any
) -> budgets.FirstAnswers:
    return asks(*given, **how)._replace(stopped=False)


def _granted(
    state: BudgetState, rule: BudgetRule, *, asks: Callable[..., Grant] = grant, without: str, **how: Any
) -> Grant:
    """What would be granted if the budget's state, or its rule, had nothing in these columns."""
    nothing: dict[str, Any] = dict.fromkeys(without.split())
    if "credits" in nothing:
        return asks(state, replace(rule, credits=None), **how)
    return asks(replace(state, **nothing), rule, **how)


def _only(rows: Callable[[int], Any], condition: Any, batch_id: int) -> Any:
    return rows(batch_id).where(condition)


def _not_paid_back(*given: Any) -> Burst | None:
    burst = burst_of(*given)
    return burst and replace(burst, slow=burst.even)


def _known_without_review(*given: Any, **how: Any) -> KnownSession | None:
    known = known_after(*given, **how)
    return known and replace(known, result=None if known.result is Result.REVIEW else known.result)


def _without(rows: type[Rows[Any, Any]], gate: str) -> Replaced:
    """The gates of a claim without this one: it keeps no row."""
    for name in ("gates", "gates_after_the_pace"):
        gates = getattr(rows, name)
        others = tuple(each for each in gates if each[0].__name__ != gate)
        if len(others) < len(gates):
            return rows, name, others
    raise LookupError(gate)


def _spends(connection: Any, rule: BudgetRule, wanted: int, *, now: datetime) -> int:
    budgets.count_credits(connection, rule, wanted, now=now)
    return wanted


_WALL_CLOCK: Replaced = (Simulation, "make_clock", staticmethod(WallClock))
MENDS: dict[str, tuple[Replaced, ...]] = {
    # A clock that is set is believed, and a call that was reserved an hour ahead too: the account stands still.
    "steady-clock": (_WALL_CLOCK, (budgets, "clamp_future_times", _believes)),
    # … and ends other workers' leases, and sessions that live.
    "database-time": (
        _WALL_CLOCK,
        (WorkerProcess, "database_clock", OfProcess()),
        (database, "STOOD_STILL", timedelta.max),
    ),
    # One row that raises ends the claim of an account, or the sweep.
    "one-bad-row": (
        (flush, "row_by_row", _in_one_go),
        (expired_sessions, "row_by_row", _in_one_go),
        (sweep, "each_alone", _all_together),
    ),
    # A machine that stood still with its clock after a flush calls under leases that are over.
    "leases-by-database-time": ((Flushes, "_check_leases", _unchecked),),
    # The rest of a list is not held back until the verdict on its pilot.
    "pilot": ((added_lines, "HELD_BACK", 0),),
    # A stop of everything keeps sweeps from waking, and no dispatcher that runs from going on.
    "emergency-stop": (
        (emergency_stop.EmergencyStops, "find", lambda _stops: None),
        (budgets, "ask_first", _never_stopped),
    ),
    # The last checks of a call: of its slot and the distance from the call before it, of a halt, of its lease.
    "slot": ((SlotGate, "may_write", lambda _gate, _slot, *, waited: True),),
    "halt": ((dispatch_state.State, "halt", lambda self: self.unwritten_halt.set()),),
    "lease": ((dispatch_state, "FLUSH_MARGIN", timedelta(days=-1)),),
    # … and of a message: its link, and quiet hours that began while it waited for its connection.
    "message": ((InviteWork, "_may_leave", lambda _work, _item, _now: True),),
    # What a claim must not be granted: slots of other workers, permits of theirs, calls in a pause, in a stop, or
    # beyond the cap on credits.
    "slots-of-all": ((claims, "grant", partial(_granted, without="next_at left_at even_at ahead_at last_at")),),
    # … and what went ahead is taken from the pace.
    "paid-back": ((account_budgets, "burst_of", _not_paid_back),),
    "permits-of-all": ((leases, "share", lambda cap, *_held, **_busy: Share(cap, cap)),),
    "pause": ((claims, "grant", partial(_granted, without="blocked_until")),),
    "stop": ((claims, "grant", partial(_granted, without="stopped_at")),),
    "credits": ((budgets, "spend_credits", _spends), (claims, "grant", partial(_granted, without="credits"))),
    # A review of the last session, and one of an earlier session, keep another from being bought. The provider's list
    # says how a review ended whose webhook was lost.
    "review": ((session_chain, "known_after", _known_without_review),),
    "earlier-review": (
        (in_review, "customers_in_review", lambda _connection, _customers: set()),
        *(
            (where, "others_in_review", lambda _connection, _sessions: set())
            for where in (expired_sessions, claim_invitations)
        ),
    ),
    "asked-in-review": ((reissue, "_about_review", lambda _facts, _now: reissue.Wait(None, Reason.IN_REVIEW)),),
    # The gates of a claim.
    "quiet-hours": (_without(Jobs, "quiet_hours"), _without(Invitations, "quiet")),
    "reminders": (_without(Invitations, "not_now"),),
    # The reminders are stored as the first message has left.
    "each-reminder": ((reminders, "next_reminder", lambda *_given, **_how: None),),
    "places-of-addresses": (_without(Jobs, "spent_addresses"), _without(Invitations, "without_place")),
    "messages-per-customer": (_without(Invitations, "spent"),),
    # Of several lists: a resume moves back all that a pause has moved, whatever became of it since.
    "resume": (
        (decisions, "_of_jobs", partial(_only, decisions._of_jobs, decisions._OPEN_OR_FAILED)),
        (decisions, "_of_messages", partial(_only, decisions._of_messages, decisions._UNSENT)),
    ),
    # … and a link that an address has goes to no other one that a list or the desk has given since.
    "given-away": ((claim_invitations, "is_kept_back", lambda *_given, **_how: False),),
}
# Histories that find it. After a change of the plans, of the engine's steps or of the faults these are others: look for
# them with `--without NAME --until-found`. Best are short ones that find several: the tests play each of them twice.
# Not a mend here: that an answer which cannot be written leaves the other results of its flush alone. A history has few
# customers, and no other result in that flush; tests/core/dispatch has. Not found yet, for the same reason, are
# "slots-of-all" and "messages-per-customer".
FOUND_BY: dict[str, tuple[int, ...]] = {
    "steady-clock": (24194,),
    "database-time": (595,),
    "one-bad-row": (10207,),
    "leases-by-database-time": (200,),
    "pilot": (301,),
    "emergency-stop": (23,),
    "slot": (10203,),
    "halt": (66,),
    "lease": (7051,),
    "paid-back": (713,),
    "permits-of-all": (10783,),
    "pause": (7002,),
    "stop": (11008,),
    "credits": (35,),
    "review": (14515,),
    "earlier-review": (22302,),
    "asked-in-review": (7051,),
    "reminders": (15200,),
    "quiet-hours": (7075,),
    "places-of-addresses": (12986,),
    "message": (21640,),
    "each-reminder": (18,),
    "resume": (39,),
    "given-away": (225,),
}
# What the product could say and is not so.
MENDS |= untruths.MENDS
FOUND_BY |= untruths.FOUND_BY
# Those of a feature lie with its tests.
for _place in sorted((Path(__file__).parents[2] / "tests/features").glob("*/mends.py")):
    _of_feature = import_module(f"tests.features.{_place.parent.name}.mends")
    MENDS |= _of_feature.MENDS
    FOUND_BY |= _of_feature.FOUND_BY


@contextmanager
def without(name: str) -> Iterator[None]:
    with ExitStack() as exits:
        for where, attribute, instead in MENDS[name]:
            exits.callback(setattr, where, attribute, where.__dict__[attribute])
            setattr(where, attribute, instead)
        yield
