"""Stop everything at once, and go on."""

from worker.core.foundation.notation import counted
from worker.features.dashboard.contract import Action, Asked, Done, Plan, Refused
from worker.features.dashboard.sources import Sources


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
