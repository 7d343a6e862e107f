"""Outgoing events that wait or were given up, and incoming events that were refused."""

from collections.abc import Mapping
from typing import Any

from worker.core.foundation.notation import counted
from worker.features.dashboard.contract import Action, Asked, Done, NotThere, Page, Plan, Refused
from worker.features.dashboard.sources import Sources
from worker.features.dashboard.users import Role
from worker.features.outbox.outbox_report import SHOWN, target_in_words
from worker.features.outbox.store import relay

DEAD_SHOWN = 50  # of each queue


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    targets = sources.outbox.targets(now=asked.now)
    refused = sources.stores.refused_events
    return {
        "read_at": asked.now,
        "targets": [one | {"words": target_in_words(one)} for one in targets],
        "given_up": sources.outbox.given_up(),
        "shown": SHOWN,
        "dead": [
            {
                "queue": f"{queue}.dead",
                "number": number,
                "events": [
                    {
                        "id": str(one.id),
                        "kind": one.kind,
                        "reason": one.reason,
                        "refused_at": one.refused_at,
                        "kept_until": one.due_at,
                        "refusals": one.refusals,
                        "why_not": one.why_not,
                    }
                    for one in refused.oldest(queue, most=DEAD_SHOWN)
                ],
            }
            for queue, number in sorted(refused.totals().items())
        ],
    }


def _plan(sources: Sources, asked: Asked) -> Plan:
    target, number = _which(sources, asked)
    waiting = {one["target"]: one["given_up"] for one in sources.outbox.targets(now=asked.now)}
    given_up = waiting.get(target, 0) if target else sum(waiting.values())
    if not given_up:
        raise Refused("No event was given up.")
    what = f"event {number}" if number is not None else counted(given_up, "event")
    of = f" of {target}" if target else ""
    return Plan(
        title=f"Publish {what}{of} again?",
        button=f"Publish {what} again",
        does=(
            "They are retried for as long as a new event is.",
            "The receiver may get an event a second time; its id shows that.",
        ),
    )


def _retry(sources: Sources, asked: Asked, reason: str) -> Done:
    target, number = _which(sources, asked)
    database = sources.acting(asked.person, "events outgoing retry", reason).database
    rows = relay.retry(database, target=target, number=number, now=asked.now)
    return Done(f"{counted(rows, 'event')} will be published again.")


def _which(sources: Sources, asked: Asked) -> tuple[str | None, int | None]:
    """The target and the event's number that a request names; None: all."""
    target = asked.text("target") or None
    if target is not None and target not in sources.outbox.configured:
        raise NotThere("There is no such target in the configuration.")
    return target, asked.number("number", least=1)


PAGE = Page(
    path="/dashboard/outgoing",
    live="outgoing_live.html",
    read=read,
    title="Outgoing and dead events",
    navigation="Events",
)
ACTIONS = (
    Action(
        name="outbox-retry",
        command="events outgoing retry",
        least=Role.OPERATOR,
        plan=_plan,
        carry_out=_retry,
        back=lambda _asked: PAGE.path,
    ),
)
