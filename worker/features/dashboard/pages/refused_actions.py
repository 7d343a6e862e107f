"""Refused events: put them back into their queue, or remove them for good."""

from uuid import UUID

from worker.core.foundation.notation import counted
from worker.events.refused import NotPutBack
from worker.events.store.refused_events import KeptMessage
from worker.features.dashboard.contract import Action, Asked, Done, NotThere, Plan, Refused
from worker.features.dashboard.sources import Sources
from worker.features.dashboard.users import Role


def _back(_asked: Asked) -> str:
    return "/dashboard/outgoing#dead"


def _which(sources: Sources, asked: Asked) -> KeptMessage | None:
    """The event that a request names; None: it asks for all of them."""
    given = asked.text("event", most=36)
    if given == "all":
        return None
    try:
        found = sources.stores.refused_events.find(UUID(given))
    except ValueError:
        found = None
    if found is None:
        raise NotThere("There is no such refused event: it was put back, was removed, or its time was over.")
    return found


def _named(sources: Sources, one: KeptMessage | None) -> str:
    """The events of a decision. Raises Refused if there are none."""
    if one is not None:
        return f"the refused {one.kind or 'event'} {one.id}"
    number = sum(sources.stores.refused_events.totals().values())
    if not number:
        raise Refused("There is no refused event.")
    return f"all of {counted(number, 'refused event')}"


def _plan_requeue(sources: Sources, asked: Asked) -> Plan:
    one = _which(sources, asked)
    which = _named(sources, one)
    if sources.put_back is None:
        raise Refused("This process reaches no queue: use `onboard events dead requeue`.")
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
    one = _which(sources, asked)
    if sources.put_back is None:
        raise Refused("This process reaches no queue: use `onboard events dead requeue`.")
    stores = sources.acting(asked.person, "events dead requeue", reason)
    try:
        now = sources.database_clock()
        done = sources.put_back(stores.database, stores.refused_events, one, asked.seen_at, now)
    except NotPutBack as error:
        does = "`onboard events dead requeue` does it where it can be"
        raise Refused(f"Nothing was put back: {error}. {does}.") from None
    said = [f"{counted(sum(done.went.values()), 'event was', 'events were')} put back."]
    if done.not_kept:
        said.append(f"{counted(done.not_kept, 'event')} without content stay: their senders must send them again.")
    said += [f"{name}: nothing was put back: {why}." for name, why in done.missed.items()]
    return Done(" ".join(said))


def _plan_drop(sources: Sources, asked: Asked) -> Plan:
    one = _which(sources, asked)
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
    one = _which(sources, asked)
    refused = sources.acting(asked.person, "events dead drop", reason).refused_events
    dropped = refused.drop(one, until=asked.seen_at, now=sources.database_clock())
    return Done(f"{counted(dropped, 'event was', 'events were')} removed.")


ACTIONS = (
    Action(
        name="dead-requeue",
        command="events dead requeue",
        least=Role.OPERATOR,
        plan=_plan_requeue,
        carry_out=_requeue,
        back=_back,
    ),
    Action(
        name="dead-drop", command="events dead drop", least=Role.OPERATOR, plan=_plan_drop, carry_out=_drop, back=_back
    ),
)
