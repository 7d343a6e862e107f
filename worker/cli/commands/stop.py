"""`onboard stop`: stop everything at once."""

import time

import click

from worker.cli.invocation import Invocation
from worker.cli.shared_options import JSON, print_json_or, without_address
from worker.core.foundation.notation import counted
from worker.settings.needs import STORED
from worker.wiring.os_user import os_user
from worker.wiring.runner import STOP_HOLDS_AFTER


@click.command()
@click.option(
    "--reason",
    default="",
    metavar="TEXT",
    callback=without_address,
    help="Why, for the audit log and for everyone who sees the stop: no name and no address.",
)
@JSON
@click.pass_obj
def stop(invocation: Invocation, reason: str, as_json: bool) -> None:
    """Stop everything at once: until `onboard resume --all` no process begins a call or sends a customer a message.

    Calls in flight are finished, and their results are written; the command says how many they are. Events and webhooks
    are still received, stored and applied; what they make due waits. Workers keep running. `onboard run` ends.
    `onboard pause BATCH` stops one batch alone.

    \b
    onboard stop --reason "the wrong template"
    onboard resume --all
    """
    with invocation.parts(STORED) as parts:
        now = parts.clock()
        before = parts.emergency_stops.find()
        stopped = parts.emergency_stops.stop(by=os_user().name, reason=reason, now=now)
        if before is None:
            time.sleep(STOP_HOLDS_AFTER.total_seconds())  # then no process begins a call any more
        in_flight = parts.emergency_stops.in_flight(now=parts.clock())
    calls = ", ".join(f"{name} {number:,}" for name, number in sorted(in_flight.items()))
    total = counted(sum(in_flight.values()), "call")
    print_json_or(
        {"action": "stop", "stopped": stopped.as_facts(), "in_flight": in_flight},
        stopped.in_words if before is None else f"stopped already: {stopped.in_words}",
        *(["its reason stays as it was"] if before is not None and reason else []),
        f"in flight: {f'{total} ({calls}), which end by themselves' if in_flight else 'nothing'}",
        "`onboard resume --all` goes on; batches that were paused before stay paused",
        as_json=as_json,
    )
