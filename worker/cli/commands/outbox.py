"""`onboard outbox`: outgoing events that wait or were given up. `onboard alerts`: what people are alerted of."""

import json

import click
from rich.console import Console
from rich.table import Column, Table

from worker.cli.exits import CannotStart, Stopped
from worker.cli.invocation import Invocation
from worker.cli.shared_options import JSON
from worker.domain.events.alerts import EVENT, TEST, Condition, as_data
from worker.domain.events.published import OutgoingEvent, moment
from worker.domain.model.needs import STORED, Need
from worker.engine.reporting.outbox_report import target_in_words
from worker.foundation.clock import ProcessClock
from worker.foundation.ids import new_id
from worker.foundation.plural import counted
from worker.foundation.timestamps import written
from worker.publishers.alert_targets import alert_targets
from worker.store.outbox import relay

NONE = "there are no alerts: add [alerts.NAME] to the configuration (docs/how-to/alerts.md)"


@click.group()
def outbox() -> None:
    """Show outgoing events that are not published yet, and retry those that were given up.

    Outgoing events are the worker's own events for other systems: a TARGET is the bus of `[bus]`, or a name of
    `[subscribers]`. docs/reference/outgoing.md describes them.
    """


@outbox.command("list")
@JSON
@click.pass_obj
def list_outbox(invocation: Invocation, as_json: bool) -> None:
    """Show how many events wait for each target, and why.

    Also lists the newest 100 events that were given up, with their numbers.
    """
    with invocation.parts(STORED, migrate=True) as parts:
        targets = parts.outbox_report.targets(now=parts.clock())
        given_up = parts.outbox_report.given_up()
    if as_json:
        click.echo(json.dumps({"targets": targets, "given_up": given_up}))
        return
    table = Table(*(Column(name, overflow="fold") for name in ("target", "waiting", "given up", "now")), box=None)
    for item in targets:
        table.add_row(item["target"], f"{item['waiting']:,}", f"{item['given_up']:,}", target_in_words(item))
    Console(highlight=False, markup=False).print(table)
    for item in given_up:
        at = f"{item['kind']} of {item['customer_id']}, {item['occurred_at']}"
        click.echo(f"{item['target']} {item['number']}: {at}: {item['detail']} ({item['attempts']} attempts)")


@outbox.command("retry")
@click.argument("target", required=False)
@click.option("--number", type=int, help="Only the event with this number (see `onboard outbox list`).")
@JSON
@click.pass_obj
def retry_outbox(invocation: Invocation, target: str | None, number: int | None, as_json: bool) -> None:
    """Publish given-up events again: of TARGET, or of all targets.

    They are then retried for as long as a new event is. `onboard outbox list` shows the targets.
    """
    with invocation.parts(STORED, migrate=True) as parts:
        known = sorted(parts.outbox_targets.policies)
        if target is not None and target not in known:
            raise CannotStart(f"there is no target {target!r}; they are {', '.join(known) or 'none'}")
        rows = relay.retry(parts.database, target=target, number=number, now=parts.clock())
    click.echo(json.dumps({"events": rows}) if as_json else f"{counted(rows, 'event')} will be published again")


@click.group()
def alerts() -> None:
    """Show what people are alerted of, and send a test.

    [alerts.NAME] of the configuration says who is alerted: by email, or by a POST to Slack, Teams or a system of yours.
    People are alerted once when something begins, and once when it is over.
    """


@alerts.command("list")
@JSON
@click.pass_obj
def list_alerts(invocation: Invocation, as_json: bool) -> None:
    """Show what people were alerted of and is not over."""
    with invocation.parts(STORED, migrate=True) as parts:
        firing, now = parts.alerts.firing() if parts.alerts else [], parts.clock()
        if parts.alerts is None:
            click.echo(NONE, err=True)
    told = [(one, as_data([Condition(*one.condition)], [], now=now)["raised"][0]) for one in firing]
    if as_json:
        facts = [{**said, "since": written(one.seen_at)} for one, said in told]
        click.echo(json.dumps({"alerts": facts}))
        return
    for one, said in told:
        click.echo(f"{written(one.seen_at)}  {said['text']} {said['command']}")
    if not told and parts.alerts is not None:
        # `status` names more: what has lasted for less than a minute, and batches that a person has paused.
        click.echo("no alert is open; `onboard status` says what needs a person")


@alerts.command("test")
@click.argument("name", required=False)
@JSON
@click.pass_obj
def test(invocation: Invocation, name: str | None, as_json: bool) -> None:
    """Send a test to NAME of [alerts], or to all, and say what each answered.

    Nothing is stored. Exit codes: 0 all accepted it, 1 one did not.
    """
    settings = invocation.settings(frozenset({Need.ALERTING, Need.SENDING}))
    if not settings.alerts:
        raise CannotStart(NONE)
    if name is not None and name not in settings.alerts:
        raise CannotStart(f"there is no [alerts.{name}]; there is {', '.join(sorted(settings.alerts))}")
    clock = ProcessClock()
    now = clock()
    event = OutgoingEvent(1, new_id(now), EVENT, "", {"at": moment(now), **TEST}, now, now)
    answers: dict[str, str] = {}
    for target, sender in alert_targets(settings).items():
        if name in (None, target.partition("/")[2]):
            replies = sender.publish([event], clock=clock, goes_on=lambda: True)
            problem = replies[0].problem
            answers[target.partition("/")[2]] = problem.detail if problem else ""
    failed = [one for one, problem in answers.items() if problem]
    if as_json:
        click.echo(json.dumps({"alerts": {one: {"accepted": not why, "problem": why} for one, why in answers.items()}}))
    else:
        for one, why in answers.items():
            click.echo(f"{one}: {why or 'accepted'}")
    if failed:
        raise Stopped(f"not accepted: {', '.join(failed)}")
