"""`onboard events`: a group that features add commands to. Its own are `dead`: refused events, and `webhooks`: those
that need a person."""

import json
from typing import Any
from uuid import UUID

import click

from onboarding_worker.cli.exits import CannotStart, Stopped, refusing
from onboarding_worker.cli.invocation import Said, saying
from onboarding_worker.cli.registry import Commands
from onboarding_worker.cli.shared_options import YES, confirm
from onboarding_worker.core.foundation.notation import counted, written, written_if_any
from onboarding_worker.core.model.states import LISTED_WEBHOOKS, WebhookState
from onboarding_worker.events.store.refused_events import KeptMessage, NotPutBack, RefusedEvents, dead_queue_of
from onboarding_worker.settings.needs import ENCRYPTING, STORED, Need
from onboarding_worker.wiring.container import Parts

MOST_LISTED = 10_000
LOOKING = frozenset({Need.BUS, Need.BROKER})  # to put events back
NOT_FOUND = "there is no refused event {}; see `onboard events dead list`"
ID = click.argument("id_", metavar="[ID]", required=False, type=click.UUID)
ALL = click.option("--all", "everything", is_flag=True, help="All events that are refused now.")


@click.group(cls=Commands)
def events() -> None:
    """Look after events and webhooks: what waits, what was refused, and what was given up."""


@click.group()
def dead() -> None:
    """Show refused events, put them back, or remove them.

    A refused event is stored in the database, encrypted, for 14 days. The dead queue has a notice with its
    id and the reason: NAME.dead for events of the bus, and requests.dead of the workers' broker for events that came as
    the Celery task `onboarding.request`. Each has an ID. `onboard events dead show ID` shows why it was refused.
    """


@dead.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_LISTED),
    default=100,
    show_default=True,
    help="Show at most this many of each queue.",
)
@saying(STORED, migrate=True)
def list_dead(parts: Parts, limit: int) -> Said:
    """List refused events with their reasons, the oldest of each queue first. They stay."""
    queues, events, lines = dict[str, int](), list[dict[str, Any]](), list[str]()
    for name, number in parts.refused_events.totals().items():
        queues[dead_queue_of(name)] = number
        some = [_facts(one) for one in parts.refused_events.oldest(name, most=limit)]
        events += some
        rest = f", the oldest {len(some):,} of them; --limit shows more" if number > len(some) else ""
        lines.append(f"{dead_queue_of(name)}: {number:,}{rest}")
        # Two lines each, never wrapped: operators copy the id, and a narrow table would break every word.
        for one in some:
            lines.append("  ".join(filter(None, [one["id"], one["refused_at"], one["type"], one["event"]])))
            not_kept = "" if one["content"] == "kept" else f"; {one['content']}"
            lines.append(f"    {one['reason']}" + (f" ({one['problems']})" if one["problems"] else "") + not_kept)
    facts = {"total": sum(queues.values()), "queues": queues, "events": events}
    return Said(facts, lines or ["there is no refused event"])


@dead.command("show")
@click.argument("id_", metavar="ID", type=click.UUID)
@saying(STORED, migrate=True)
def show_dead(parts: Parts, id_: UUID) -> Said:
    """Show why the event ID was refused, and the event's keys.

    Personal data is not shown: of each value you see only its kind and its length.
    """
    from onboarding_worker.events.bus.dead_lettering import message_in
    from onboarding_worker.events.bus.dead_letters import shown

    found = parts.refused_events.find(id_)
    if found is None:
        raise CannotStart(NOT_FOUND.format(id_))
    facts = _facts(found) | ({} if found.content is None else shown(message_in(found.content)))
    lines = [
        f"{name}: {value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)}"
        for name, value in facts.items()
    ]
    return Said(facts, lines)


@dead.command("requeue")
@ID
@ALL
@YES
@saying(STORED | LOOKING, migrate=True)
def requeue_dead(parts: Parts, id_: UUID | None, everything: bool, yes: bool) -> Said:
    """Put refused events back into the queue that they came from.

    Give the ID of an event (`onboard events dead list` shows it), or --all. An event of the bus goes back into the
    bus's queue; an event that came as a Celery task goes back into the queue `requests`. An event that was too large,
    or that names an erased customer, was not kept: its sender must send it again.

    No event is lost, whatever happens meanwhile. If an event is then there twice, it is still processed once. The audit
    log has an entry before the first event goes back.

    Exit codes: 0 all that were kept went back; 1 some did, and the queue of others cannot be reached; 2 none did.
    """
    from onboarding_worker.events.bus.dead_letters import put_back

    refused = parts.refused_events
    one = _chosen(refused, id_, everything=everything, ask="" if id_ or yes else "put {} back?")
    if one is not None and one.content is None:
        raise CannotStart(f"the event {id_} cannot be put back: {one.why_not}")
    with refusing(NotPutBack):
        done = put_back(parts.settings, parts.database, refused, one, now=parts.database_clock())
    number = sum(done.went.values())
    facts = {"requeued": number, "queues": done.went, "not_kept": done.not_kept, "unreachable": [*done.missed]}
    each = ", ".join(f"{name} {count:,}" for name, count in done.went.items())
    lines = [f"{counted(number, 'event was', 'events were')} put back{f' ({each})' if each else ''}"]
    if done.not_kept:
        them = "it" if done.not_kept == 1 else "them"
        lines.append(f"{counted(done.not_kept, 'event')} without content: the sender must send {them} again")
    why = "\n".join(f"{name}: nothing was put back: {reason}" for name, reason in done.missed.items())
    return Said(facts, lines, ends=(Stopped(why) if number else CannotStart(why)) if why else None)


@dead.command("drop")
@ID
@ALL
@YES
@saying(STORED, migrate=True)
def drop_dead(parts: Parts, id_: UUID | None, everything: bool, yes: bool) -> Said:
    """Remove refused events for good, before their 14 days are over. What they asked for is not done.

    Give the ID of an event (`onboard events dead list` shows it), or --all. Only the database is needed: the notice of
    a removed event stays in the dead queue, and names nothing of it.
    """
    one = _chosen(parts.refused_events, id_, everything=everything, ask="" if yes else "remove {} for good?")
    dropped = parts.refused_events.drop(one, now=parts.database_clock())
    stay = "; the notices stay in the dead queue (docs/reference/bus.md)" if dropped else ""
    return Said({"dropped": dropped}, [f"{counted(dropped, 'event was', 'events were')} removed{stay}"])


def _chosen(refused: RefusedEvents, id_: UUID | None, *, everything: bool, ask: str) -> KeptMessage | None:
    """The event of this ID; None: all. `ask`: what a person is to confirm. Raises CannotStart, click.UsageError."""
    if (id_ is None) == (not everything):
        raise click.UsageError("give an ID, or --all")
    one = refused.find(id_) if id_ else None
    if id_ and one is None:
        raise CannotStart(NOT_FOUND.format(id_))
    there = 1 if one else sum(refused.totals().values())
    if there and ask:
        confirm(ask.format(counted(there, "event")))
    return one


def _facts(one: KeptMessage) -> dict[str, Any]:
    from onboarding_worker.events.bus.dead_lettering import problems_in

    return {
        "queue": dead_queue_of(one.queue),
        "id": str(one.id),
        "reason": one.reason,
        "problems": problems_in(one.content),
        "refused_at": written(one.refused_at),
        "refusals": one.refusals,
        "kept_until": written(one.due_at),
        "type": one.kind,
        "event": one.event,
        "size": one.size,
        "content": one.why_not or "kept",
    }


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
@saying(STORED, migrate=True)
def list_webhooks(parts: Parts, states: tuple[str, ...], limit: int) -> Said:
    """List webhooks that need a person, newest first: why each is listed, and its customer.

    States: waiting (not processed yet, or its session is not known here: it is tried again for a day), applied,
    ignored (it changes nothing), unknown (no session matches), alert (a person should check it), broken (it cannot be
    processed), seen (`onboard events webhooks done`). Webhooks are deleted after 30 days.

    The customer is the customer_id of the matching session. Without one the list shows the ids in the webhook,
    shortened.
    """
    wanted = [WebhookState(state) for state in states] or list(LISTED_WEBHOOKS)
    counts = parts.webhook_list.count()
    found = [
        vars(one)
        | {"id": str(one.id), "state": one.state.value}
        | {"received_at": written(one.received_at), "due_at": written_if_any(one.due_at)}
        for one in parts.webhook_list.newest(wanted, most=limit)
    ]
    lines = list[str]()
    for one in found:
        lines.append(f"{one['id']}  {one['received_at']}  {one['source']}  {one['event']}")
        lines.append(f"    {one['state']}{': ' if one['detail'] else ''}{one['detail']}")
        if about := ", ".join([*([f"customer {one['customer']}"] if one["customer"] else []), *one["ids"]]):
            lines.append(f"    about {about}")
    if not found:
        waiting, unmatched = parts.webhook_list.waiting()
        there = {**counts, WebhookState.WAITING: waiting}
        others = [f"{count:,} {state.value}" for state, count in there.items() if count and state not in wanted]
        if unmatched and WebhookState.WAITING not in wanted:
            others[-1] += f" ({unmatched:,} for a session that is not known here)"
        lines = ["; ".join(filter(None, [f"there is no webhook that is {' or '.join(wanted)}", ", ".join(others)]))]
        lines += ["`onboard events webhooks list --state STATE` lists them"] if others else []
    return Said({"counts": {state.value: count for state, count in counts.items()}, "webhooks": found}, lines)


@webhooks.command("retry")
@click.argument("id_", metavar="[ID]", required=False)
@saying(ENCRYPTING, migrate=True)
def retry_webhooks(parts: Parts, id_: str | None) -> Said:
    """Process unknown and broken webhooks again: the webhook ID, or all of them.

    `onboard events webhooks list` shows the IDs. Use this command after the missing list was imported, a key was put
    back, or the release was fixed. A webhook changes nothing if something newer is known. With an ID the command also
    applies a verdict that may be a copy of an old one (`alert`): first check at the provider that the verdict is right.
    """
    try:
        chosen = UUID(id_) if id_ is not None else None
    except ValueError:
        raise CannotStart(f"{id_[:40]!r} is not an id of `onboard events webhooks list`" if id_ else "no id") from None
    rows = parts.webhook_list.retry(id_=chosen, now=parts.clock())
    if chosen is not None and not rows:
        raise CannotStart(f"there is no webhook {chosen} to process again, or its content was deleted")
    return Said({"webhooks": rows}, [f"{counted(rows, 'webhook')} put back, to be processed again"])


@webhooks.command("done")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.UUID)
@saying(STORED, migrate=True)
def webhooks_done(parts: Parts, ids: tuple[UUID, ...]) -> Said:
    """Say that you have looked at listed webhooks: `onboard events webhooks list` and `status` name them no more.

    Nothing else changes. A webhook that is to be applied needs `onboard events webhooks retry`, before that.

    Exit codes: 0 all are done; 1 some IDs are of no listed webhook, the others are done; 2 none is.
    """
    rows = parts.webhook_list.done(ids, now=parts.clock())
    done, missing = f"{counted(rows, 'webhook')} done", len(set(ids)) - rows
    if not missing:
        return Said({"webhooks": rows}, [done])
    why = f"{done}; {counted(missing, 'id is', 'ids are')} of no webhook in `onboard events webhooks list`"
    if not rows:
        raise CannotStart(why)
    return Said({"webhooks": rows}, [], ends=Stopped(why))
