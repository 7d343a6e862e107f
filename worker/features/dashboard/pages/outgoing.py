"""Outgoing events that wait or were given up, and incoming events that were refused: published again, put back into
their queue, or removed for good."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.events.store.refused_events import KeptMessage, NotPutBack
from onboarding_worker.features.dashboard.contract import Action, Asked, Done, NotThere, Page, Plan, Refused, Sources
from onboarding_worker.features.outbox.outbox_targets import SHOWN, target_in_words
from onboarding_worker.features.outbox.store import relay

DEAD_SHOWN = 50  # of each queue


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    targets = sources.outbox.status()
    refused = sources.parts.refused_events
    return {
        "targets": [one | {"words": target_in_words(one)} for one in targets],
        "given_up": sources.outbox.given_up(),
        "shown": SHOWN,
        "dead": [
            {"queue": f"{queue}.dead", "number": number, "events": refused.oldest(queue, most=DEAD_SHOWN)}
            for queue, number in sorted(refused.totals().items())
        ],
    }


def _plan(sources: Sources, asked: Asked) -> Plan:
    target, number = _target(sources, asked)
    waiting = {one["target"]: one["given_up"] for one in sources.outbox.status()}
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
    target, number = _target(sources, asked)
    database = sources.acting(asked, "events outgoing retry", reason).database
    rows = relay.retry(database, target=target, number=number, now=asked.now)
    return Done(f"{counted(rows, 'event')} will be published again.")


def _target(sources: Sources, asked: Asked) -> tuple[str | None, int | None]:
    """The target and the event's number that a request names; None: all."""
    target = asked.text("target") or None
    if target is not None and target not in sources.outbox.rules:
        raise NotThere("There is no such target in the configuration.")
    return target, asked.number("number", least=1)


def _refused(sources: Sources, asked: Asked) -> KeptMessage | None:
    """The event that a request names; None: it asks for all of them."""
    given = asked.text("event", most=36)
    if given == "all":
        return None
    try:
        found = sources.parts.refused_events.find(UUID(given))
    except ValueError:
        found = None
    if found is None:
        raise NotThere("There is no such refused event: it was put back, was removed, or its time was over.")
    return found


def _named(sources: Sources, one: KeptMessage | None) -> str:
    """The events of a decision. Raises Refused if there are none."""
    if one is not None:
        return f"the refused {one.kind or 'event'} {one.id}"
    number = sum(sources.parts.refused_events.totals().values())
    if not number:
        raise Refused("There is no refused event.")
    return f"all of {counted(number, 'refused event')}"


def _plan_requeue(sources: Sources, asked: Asked) -> Plan:
    one = _refused(sources, asked)
    which = _named(sources, one)
    if one is not None and one.content is None:
        raise Refused(f"It cannot be put back: {one.why_not}. Its sender must send it again.")
    return Plan(
        title=f"Put {which} back?",
        button="Put back",
        does=(
            *((f"It was refused: {one.reason}.",) if one is not None else ()),
            "It goes back into the queue that it came from, and is read again. Remove the cause first: what is still"
            " wrong is refused again, under the same id.",
            "An event that is then there twice is processed once.",
        ),
        cost=("What it asks for is done and paid for as any event's: at most one session and its messages each.",),
    )


def _requeue(sources: Sources, asked: Asked, reason: str) -> Done:
    from onboarding_worker.events.bus.dead_letters import put_back  # imported here: kombu, for those who put one back

    one, settings = _refused(sources, asked), sources.parts.settings
    stores = sources.acting(asked, "events dead requeue", reason)
    try:
        now = sources.parts.database_clock()
        done = put_back(settings, stores.database, stores.refused_events, one, until=asked.seen_at, now=now)
    except NotPutBack as error:
        does = "`onboard events dead requeue` does it where it can be"
        raise Refused(f"Nothing was put back: {error}. {does}.") from None
    said = [f"{counted(sum(done.went.values()), 'event was', 'events were')} put back."]
    if done.not_kept:
        said.append(f"{counted(done.not_kept, 'event')} without content stay: their senders must send them again.")
    said += [f"{name}: nothing was put back: {why}." for name, why in done.missed.items()]
    return Done(" ".join(said))


def _plan_drop(sources: Sources, asked: Asked) -> Plan:
    one = _refused(sources, asked)
    return Plan(
        title=f"Remove {_named(sources, one)} for good?",
        button="Remove for good",
        does=(
            *((f"It was refused: {one.reason}.",) if one is not None else ()),
            "What it asked for is not done, and its content is deleted. This cannot be undone.",
            "Its notice in the dead queue stays there; it names nothing of the event.",
        ),
        grave=True,
    )


def _drop(sources: Sources, asked: Asked, reason: str) -> Done:
    one = _refused(sources, asked)
    refused = sources.acting(asked, "events dead drop", reason).refused_events
    dropped = refused.drop(one, until=asked.seen_at, now=sources.parts.database_clock())
    return Done(f"{counted(dropped, 'event was', 'events were')} removed.")


PATH, DEAD = "/dashboard/outgoing", "/dashboard/outgoing#dead"
PAGE = Page(path=PATH, live="outgoing_live.html", read=read, title="Outgoing and dead events", navigation="Events")


ACTIONS = (
    Action(name="outbox-retry", command="events outgoing retry", plan=_plan, carry_out=_retry, back=lambda _: PATH),
    Action(
        name="dead-requeue", command="events dead requeue", plan=_plan_requeue, carry_out=_requeue, back=lambda _: DEAD
    ),
    Action(name="dead-drop", command="events dead drop", plan=_plan_drop, carry_out=_drop, back=lambda _: DEAD),
)
