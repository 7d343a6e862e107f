"""Accounts and senders: their numbers, how fast they grow now, and trying a stopped one again."""

import threading
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from worker.core.foundation.clock import monotonic
from worker.core.foundation.notation import listed_in_words
from worker.features.dashboard.contract import Action, Asked, Done, Page, Plan, Refused, Sources
from worker.reporting.operation_report import WORKING, state_in_words
from worker.wiring.account_budgets import NotTried, check_can_be_tried, try_again

OVER_SECONDS = 10.0


class Pace:
    """Of numbers that grow. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, int]]] = deque()
        self._lock = threading.Lock()

    def each_second(self, totals: Mapping[str, int], at: float) -> dict[str, float]:
        """By name, how much the number has grown each second, lately; names that were not there before are left out."""
        with self._lock:
            while self._looks and at - self._looks[0][0] > OVER_SECONDS:
                self._looks.popleft()
            before_at, before = self._looks[0] if self._looks else (at, {})
            self._looks.append((at, dict(totals)))
        took = at - before_at
        if took <= 0:
            return {}
        return {name: max(number - before[name], 0) / took for name, number in totals.items() if name in before}


_used = Pace()


def accounts_now(sources: Sources, now: datetime) -> list[dict[str, Any]]:
    """The facts of all accounts and senders, as the pages show them: those that share a budget are one, `sharing`."""
    budgets: dict[str, list[dict[str, Any]]] = {}
    for one in sources.parts.operation.of_accounts(now=now):
        budgets.setdefault(one["budget"], []).append(one)
    first = {each[0]["account"]: each[0]["credits_used"] for each in budgets.values()}
    # How many credits each uses in a second now: the calls that are made and paid for.
    pace = _used.each_second({name: used for name, used in first.items() if used is not None}, monotonic())
    accounts = []
    for each in budgets.values():
        one = each[0]
        state, _, why = state_in_words(one).partition(": ")
        used, left = one["credits_used"], one["credits_left"]
        shown = {"state": state.partition(" ")[0], "until": one["paused_until"], "why": why, "sharing": each}
        credits = None if used is None or left is None else used + left
        accounts.append(one | shown | {"credits": credits, "pace": pace.get(one["account"], 0.0)})
    return accounts


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    accounts = accounts_now(sources, asked.now)
    return {"accounts": accounts, "well": all(one["state"] == WORKING for one in accounts)}


def _plan(sources: Sources, asked: Asked) -> Plan:
    name = asked.text("name")
    try:
        shared = check_can_be_tried(name, sources.parts, now=asked.now)
    except NotTried as error:
        raise Refused(f"{error}.") from None
    facts = next(one for one in sources.parts.operation.of_accounts(now=asked.now) if one["account"] == name)
    state = state_in_words(facts)
    if not (facts["stopped_at"] or facts["paused_until"]):
        raise Refused(f"{name} is neither stopped nor paused.")
    does = [f"Now: {state}.", "Remove the cause first. One call goes ahead; if it succeeds, the others follow."]
    does += [f"{listed_in_words(shared)} share its budget and go on as well."] if shared else []
    paid = name in sources.parts.accounts
    cost = ("The first call, and then the calls of the rows that wait for it, are paid for as any.",) if paid else ()
    return Plan(title=f"Try {name} again?", button=f"Try {name} again", does=does, cost=cost)


def _resume(sources: Sources, asked: Asked, reason: str) -> Done:
    name = asked.text("name")
    stores = sources.acting(asked.person, "account resume", reason)
    try:
        ended, _ = try_again(name, stores, now=asked.now)
    except NotTried as error:
        raise Refused(f"{error}.") from None
    if not ended:
        return Done(f"{name} was neither stopped nor paused.")
    return Done(f"{name} is tried again with a single call: its {' and its '.join(ended)} ended.")


PAGE = Page(path="/dashboard/accounts", live="accounts_live.html", read=read, title="Accounts", navigation="Accounts")
ACTIONS = (
    Action(
        name="account-resume", command="account resume", plan=_plan, carry_out=_resume, back=lambda _asked: PAGE.path
    ),
)
