"""The first page: what needs a person, the batches, the accounts and senders, and which processes run; and its button:
stop everything at once, and go on. The page of accounts and senders alone: their numbers, how fast they grow now, and
trying a stopped one again."""

import shlex
import threading
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.notation import counted, listed_in_words
from onboarding_worker.core.model.states import JobState, LineState
from onboarding_worker.features.dashboard.contract import Action, Asked, Done, Page, Plan, Refused, Sources, do
from onboarding_worker.features.dashboard.pages.batch_actions import FROM_NOW, page_of
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.reporting.batch_report import rows_to_correct, state_of
from onboarding_worker.reporting.operation_report import WORKING, OperationReport, state_in_words
from onboarding_worker.reporting.store.processes import WORK
from onboarding_worker.reporting.waits import NOTHING_STUCK, Wait, rows_in_words, with_rows
from onboarding_worker.wiring.account_budgets import NotTried, check_can_be_tried, try_again

SHOWN = 12  # the newest batches; the others are on the page of batches
# In the order of a bar: what is done fills it from the left, and what is still to do is on the right.
STATES = (
    *(JobState.COMPLETED, JobState.INVITED, LineState.JOINED, JobState.ISSUED, JobState.LAPSED, JobState.CANCELLED),
    *(LineState.DUPLICATE, LineState.KNOWN, LineState.REJECTED, JobState.FAILED, JobState.HELD),
    *(JobState.WORKING, JobState.WAITING),
)
NAMELESS = {
    "stop": "Stopped",
    "database": "Database",
    "process": "No worker",
    "calls": "No calls",
    "beat": "No scheduler",
    "bus": "No bus",
    "audit": "Audit log",
    "webhook": "Webhooks",
}
AT_REST = ("sent", "finished", "cancelled", "purged")
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


_pace, _used = Pace(), Pace()  # of the batches' last numbers, and of the accounts'


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    whole = sources.parts.operation.report()
    every = sources.parts.batches.all()
    batches = [batch_facts(sources, whole, one) for one in every[:SHOWN]]
    each_second = _pace.each_second({str(one["batch"]): one["out"] for one in batches}, monotonic())
    for one in batches:
        one["pace"] = each_second.get(str(one["batch"]), 0.0)
    return {
        "needs": [need_of(one) for one in whole.attention],
        "headline": headline(whole, sum(one["to_correct"] for one in batches)),
        "stopped": whole.stopped is not None,
        "batches": [one for one in batches if one["state"] not in AT_REST],
        "rested": [one for one in batches if one["state"] in AT_REST],
        "more": max(len(every) - SHOWN, 0),
        "accounts": accounts_now(sources, asked.now),
        "processes": whole.running,
        "beat_at": whole.beat_at,
        "beside": [line for one in whole.standings for line in one.lines],
        "working": sum(one.kind in WORK for one in whole.running),
    }


def accounts_now(sources: Sources, now: datetime) -> list[dict[str, Any]]:
    """The facts of all accounts and senders, as the pages show them: those that share a budget are one, `sharing`."""
    facts = {one["account"]: one for one in sources.parts.operation.of_accounts(now=now)}
    sharing = dict.fromkeys(rule.names for rule in sources.parts.budget_rules.all().values())
    budgets = [[facts[name] for name in names] for names in sharing]
    first = {each[0]["account"]: each[0]["credits_used"] for each in budgets}
    # How many credits each uses in a second now: the calls that are made and paid for.
    pace = _used.each_second({name: used for name, used in first.items() if used is not None}, monotonic())
    accounts = []
    for each in budgets:
        one = each[0]
        state, _, why = state_in_words(one).partition(": ")
        used, left = one["credits_used"], one["credits_left"]
        shown = {"state": state.partition(" ")[0], "until": one["paused_until"], "why": why, "sharing": each}
        credits = None if used is None or left is None else used + left
        accounts.append(one | shown | {"credits": credits, "pace": pace.get(one["account"], 0.0)})
    return accounts


def batch_facts(sources: Sources, whole: OperationReport, batch: BatchFacts) -> dict[str, Any]:
    """The facts of `status --json`, and those that the page shows besides."""
    counts = sources.parts.facts.counts(batch.id)
    facts = whole.with_what_is_worked(sources.reporting.status(batch, counts, with_sets=False))
    state = "purged" if batch.purged_at is not None else state_of(batch, counts).value
    to_correct = rows_to_correct(facts, counts.corrected)
    parts = {name: number for name, number in facts["rows"].items() if name != "total"}
    return facts | {
        "state": state,
        "out": counts.out,
        "parts": {str(name): parts.get(name, 0) for name in STATES},
        "to_correct": to_correct,
        "rows_wait": rows_in_words(to_correct, held=facts["rows"][JobState.HELD]),
    }


def headline(whole: OperationReport, to_correct: int) -> str:
    """The answer to: must I do something? `to_correct`: rows of the batches that are shown."""
    number = len(whole.attention)
    if number:
        said = "one thing needs you" if number == 1 else f"{number} things need you"
    elif any(one.kind in WORK for one in whole.running):
        said = NOTHING_STUCK
    elif whole.blocked:
        said = f"rows wait for {listed_in_words([one.name for one in whole.blocked])}, and no process is working"
    else:
        said = "nothing is due, and no process is working"
    return f"{said[0].upper()}{with_rows(said[1:], to_correct)}."


def need_of(one: Wait) -> dict[str, Any]:
    """What needs a person, with the page or the action that helps; "" where only the command does."""
    words = shlex.split(one.action)[1:]
    page, action, button = "", "", ""
    match words:
        case ["account", "resume", name]:
            action, button = do("account-resume", name=name), "Try again"
        case ["account", "list"]:
            page = "/dashboard/accounts"
        case ["events", "outgoing", "list"]:
            page = "/dashboard/outgoing"
        case ["events", "dead", "list"]:
            page = "/dashboard/outgoing#dead"
        case ["resume", "--all"]:
            action, button = do("go-on"), "Go on"
        case ["resume", batch]:
            action, button = do("resume", batch=batch, **{"from": FROM_NOW}), "Resume"
        case ["report", batch]:
            page = page_of(batch) if batch.isdecimal() else "/dashboard/batches"
        case []:
            page = one.action
    # One command may help with several things, and an id has no space.
    whose = ["".join(one.name.split())] if one.name else []
    about = " ".join(filter(None, (one.what if one.name else "", one.name)))
    about = about or NAMELESS.get(one.what, one.what)
    shown = {"about": about, "reason": one.detail, "command": one.action, "critical": one.is_critical}
    return shown | {"page": page, "action": action, "button": button, "id": "-".join(("need", *words, *whose))}


PAGE = Page(path="/", live="now_live.html", read=read, title="Now", navigation="Now")


def _read_accounts(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    accounts = accounts_now(sources, asked.now)
    return {"accounts": accounts, "well": all(one["state"] == WORKING for one in accounts)}


ACCOUNTS = Page(
    path="/dashboard/accounts", live="accounts_live.html", read=_read_accounts, title="Accounts", navigation="Accounts"
)


def _plan_stop(sources: Sources, _asked: Asked) -> Plan:
    stopped = sources.parts.emergency_stops.find()
    if stopped is not None:
        raise Refused(f"Already, {stopped.in_words}.")
    return Plan(
        title="Stop everything?",
        button="Stop everything",
        does=(
            "Within a second no process begins a new call or sends a customer a new message, until a person goes on.",
            "Calls in flight are finished, and their results are written.",
            "Events and webhooks are still received and applied; what they make due waits.",
        ),
        grave=True,
    )


def _stop(sources: Sources, asked: Asked, reason: str) -> Done:
    # The reason is the stop's own, which everybody sees: the audit log has it from there.
    stores = sources.acting(asked, "stop", "")
    stores.emergency_stops.stop(by=asked.person.actor, reason=reason, now=asked.now)
    in_flight = sum(stores.emergency_stops.in_flight(now=asked.now).values())
    calls = counted(in_flight, "call in flight ends by itself", "calls in flight end by themselves")
    return Done(f"Everything is stopped. {calls if in_flight else 'No call was in flight'}.")


def _plan_go_on(sources: Sources, _asked: Asked) -> Plan:
    stopped = sources.parts.emergency_stops.find()
    if stopped is None:
        raise Refused("Nothing was stopped: everything goes on already.")
    return Plan(
        title="Go on with everything?",
        button="Go on",
        does=(
            f"Now {stopped.in_words}.",
            "Running workers claim what is due within seconds.",
            "Batches, accounts and senders that were paused or stopped stay so.",
        ),
        cost=("What is due is called and sent again, and paid for as any.",),
    )


def _go_on(sources: Sources, asked: Asked, reason: str) -> Done:
    ended = sources.acting(asked, "resume", reason).emergency_stops.go_on(now=asked.now)
    return Done("Everything goes on." if ended is not None else "Nothing was stopped.")


def _plan_try(sources: Sources, asked: Asked) -> Plan:
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


def _try(sources: Sources, asked: Asked, reason: str) -> Done:
    name = asked.text("name")
    stores = sources.acting(asked, "account resume", reason)
    try:
        ended, _ = try_again(name, stores, now=asked.now)
    except NotTried as error:
        raise Refused(f"{error}.") from None
    if not ended:
        return Done(f"{name} was neither stopped nor paused.")
    return Done(f"{name} is tried again with a single call: its {' and its '.join(ended)} ended.")


ACTIONS = (
    Action(name="stop", command="stop", plan=_plan_stop, carry_out=_stop),
    Action(name="go-on", command="resume --all", plan=_plan_go_on, carry_out=_go_on),
    Action(
        name="account-resume", command="account resume", plan=_plan_try, carry_out=_try, back=lambda _: ACCOUNTS.path
    ),
)
