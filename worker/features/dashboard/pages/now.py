"""The first page: what needs a person, the batches, the accounts and senders, and which processes run; and its button:
stop everything at once, and go on."""

import shlex
from collections.abc import Mapping
from typing import Any

from worker.core.foundation.clock import monotonic
from worker.core.foundation.notation import counted, listed_in_words
from worker.core.model.states import JobState, LineState
from worker.features.dashboard.contract import Action, Asked, Done, Page, Plan, Refused, Sources, do
from worker.features.dashboard.pages.accounts import Pace, accounts_now
from worker.features.dashboard.pages.batch_actions import FROM_NOW, page_of
from worker.lists.store.batches import BatchFacts
from worker.reporting.batch_report import rows_to_correct, state_of
from worker.reporting.operation import WORK
from worker.reporting.operation_report import OperationReport
from worker.reporting.waits import NOTHING_STUCK, Wait, rows_in_words, with_rows

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
    "beat": "No scheduler",
    "bus": "No bus",
    "audit": "Audit log",
    "webhook": "Webhooks",
}
AT_REST = ("sent", "finished", "cancelled", "purged")


_pace = Pace()  # of the last numbers


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
        "folders": whole.folders,
        "working": sum(one.kind in WORK for one in whole.running),
    }


def batch_facts(sources: Sources, whole: OperationReport, batch: BatchFacts) -> dict[str, Any]:
    """The facts of `status --json`, and those that the page shows besides."""
    counts = sources.parts.facts.counts(batch.id)
    facts = whole.with_what_is_worked(sources.reporting.status(batch, counts))
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
    # One command may help with several things, and an id has no space.
    whose = ["".join(one.name.split())] if one.name else []
    about = " ".join(filter(None, (one.what if one.name else "", one.name)))
    return {
        "about": about or NAMELESS.get(one.what, one.what),
        "reason": one.detail,
        "command": one.action,
        "critical": one.is_critical,
        "page": page,
        "action": action,
        "button": button,
        "id": "-".join(("need", *words, *whose)),
    }


PAGE = Page(path="/", live="now_live.html", read=read, title="Now", navigation="Now")


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
    stores = sources.acting(asked.person, "stop", "")
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
    ended = sources.acting(asked.person, "resume", reason).emergency_stops.go_on(now=asked.now)
    return Done("Everything goes on." if ended is not None else "Nothing was stopped.")


ACTIONS = (
    Action(name="stop", command="stop", plan=_plan_stop, carry_out=_stop),
    Action(name="go-on", command="resume --all", plan=_plan_go_on, carry_out=_go_on),
)
