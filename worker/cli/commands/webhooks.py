"""`onboard events webhooks`: webhooks that need a person."""

import uuid
from typing import Any

import click

from worker.cli.exits import CannotStart, Stopped
from worker.cli.invocation import Invocation
from worker.cli.shared_options import JSON, print_json, print_json_or
from worker.core.foundation.notation import counted, written, written_if_any
from worker.core.model.states import LISTED_WEBHOOKS, WebhookState
from worker.settings.needs import ENCRYPTING, STORED
from worker.web.webhooks.store.webhook_list import Listed

MOST_LISTED = 10_000


@click.group()
def webhooks() -> None:
    """Show webhooks that match no session or that a person should check, and process them again."""


@webhooks.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in WebhookState]),
    help="Only webhooks in this state; repeatable.  [default: unknown, alert, broken]",
)
@click.option(
    "--limit", type=click.IntRange(1, MOST_LISTED), default=100, show_default=True, help="Show at most this many."
)
@JSON
@click.pass_obj
def list_webhooks(invocation: Invocation, states: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List webhooks that need a person, newest first: why each is listed, and its customer.

    States: waiting (not processed yet, or its session is not known here: it is tried again for a day), applied,
    ignored (it changes nothing), unknown (no session matches), alert (a person should check it), broken (it cannot be
    processed), seen (`onboard events webhooks done`). Webhooks are deleted after 30 days.

    The customer is the customer_id of the matching session. Without one the list shows the ids in the webhook,
    shortened.
    """
    wanted = [WebhookState(state) for state in states] or list(LISTED_WEBHOOKS)
    with invocation.parts(STORED, migrate=True) as parts:
        counts = parts.webhook_list.count()
        waiting, unmatched = parts.webhook_list.waiting()
        found = [_facts(one) for one in parts.webhook_list.newest(wanted, most=limit)]
    if as_json:
        totals = {state.value: count for state, count in counts.items()}
        print_json({"counts": totals, "webhooks": found})
        return
    if not found:
        there = {**counts, WebhookState.WAITING: waiting}
        others = [f"{count:,} {state.value}" for state, count in there.items() if count and state not in wanted]
        if unmatched and WebhookState.WAITING not in wanted:
            others[-1] += f" ({unmatched:,} for a session that is not known here)"
        click.echo(f"there is no webhook that is {' or '.join(wanted)}" + (f"; {', '.join(others)}" if others else ""))
        if others:
            click.echo("`onboard events webhooks list --state STATE` lists them")
        return
    for one in found:
        click.echo(f"{one['id']}  {one['received_at']}  {one['source']}  {one['event']}")
        click.echo(f"    {one['state']}{': ' if one['detail'] else ''}{one['detail']}")
        if about := ", ".join([*([f"customer {one['customer']}"] if one["customer"] else []), *one["ids"]]):
            click.echo(f"    about {about}")


@webhooks.command("retry")
@click.argument("id_", metavar="[ID]", required=False)
@JSON
@click.pass_obj
def retry_webhooks(invocation: Invocation, id_: str | None, as_json: bool) -> None:
    """Process unknown and broken webhooks again: the webhook ID, or all of them.

    `onboard events webhooks list` shows the IDs. Use this command after the missing list was imported, a key was put
    back, or the release was fixed. A webhook changes nothing if something newer is known. With an ID the command also
    applies a verdict that may be a copy of an old one (`alert`): first check at the provider that the verdict is right.
    """
    try:
        chosen = uuid.UUID(id_) if id_ is not None else None
    except ValueError:
        raise CannotStart(f"{id_[:40]!r} is not an id of `onboard events webhooks list`" if id_ else "no id") from None
    with invocation.parts(ENCRYPTING, migrate=True) as parts:
        rows = parts.webhook_list.retry(id_=chosen, now=parts.clock())
    if chosen is not None and not rows:
        raise CannotStart(f"there is no webhook {chosen} to process again, or its content was deleted")
    words = f"{counted(rows, 'webhook')} put back, to be processed again"
    print_json_or({"webhooks": rows}, words, as_json=as_json)


@webhooks.command("done")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.UUID)
@JSON
@click.pass_obj
def webhooks_done(invocation: Invocation, ids: tuple[uuid.UUID, ...], as_json: bool) -> None:
    """Say that you have looked at listed webhooks: `onboard events webhooks list` and `status` name them no more.

    Nothing else changes. A webhook that is to be applied needs `onboard events webhooks retry`, before that.

    Exit codes: 0 all are done; 1 some IDs are of no listed webhook, the others are done; 2 none is.
    """
    with invocation.parts(STORED, migrate=True) as parts:
        rows = parts.webhook_list.done(ids, now=parts.clock())
    if as_json and rows:
        print_json({"webhooks": rows})
    if rows < len(set(ids)):
        missing = counted(len(set(ids)) - rows, "id is", "ids are")
        why = f"{counted(rows, 'webhook')} done; {missing} of no webhook in `onboard events webhooks list`"
        raise Stopped(why) if rows else CannotStart(why)
    if not as_json:
        click.echo(f"{counted(rows, 'webhook')} done")


def _facts(one: Listed) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "source": one.source,
        "event": one.event,
        "state": one.state.value,
        "received_at": written(one.received_at),
        "due_at": written_if_any(one.due_at),
        "attempts": one.attempts,
        "customer": one.customer,
        "ids": list(one.ids),
        "detail": one.detail,
    }
