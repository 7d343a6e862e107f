"""What happens to the customers: one function for each, which draws what it needs from the world's chance."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.store.shelf import POLICY, WEEK, customer, line
from trials.lists import outages, people, removals
from trials.lists.answers import flush, flush_messages
from trials.lists.arrivals import (
    a_customer_opens_the_link,
    a_customer_says_not_me,
    a_message_is_reported_on,
    an_address_may_get_messages_again,
)
from trials.lists.world import DAY, NAMES, World, key_of_call
from worker.domain.events.incoming import OPERATOR, EventKind
from worker.domain.model.customers import Channel
from worker.domain.model.states import SessionState
from worker.domain.verification.session_updates import Result
from worker.store.base.priorities import BATCH
from worker.store.inbox.incoming_events import Arrival
from worker.store.onboarding.new_rows import AcceptedLine
from worker.store.onboarding.plans import Plan
from worker.store.tables import SessionRow

SECONDS = timedelta(seconds=6)  # the usual step
STEPS = (
    SECONDS,
    timedelta(seconds=61),
    timedelta(seconds=100),
    timedelta(hours=1),
    DAY,
    3 * DAY,
    WEEK + 2 * timedelta(hours=1),
)
ZONES = ("", "", "America/New_York", "Asia/Tokyo")
MANY_BATCHES = 6  # from then on lists are rarer
CHANNELS = (Channel.EMAIL, Channel.EMAIL, Channel.BOTH, Channel.SMS, Channel.NONE)
UPDATES = (
    (SessionState.COMPLETED, Result.APPROVED),
    (SessionState.FAILED, Result.DENIED),
    (SessionState.STARTED, None),
    *2 * ((SessionState.STARTED, Result.REVIEW),),
    *2 * ((SessionState.EXPIRED, None),),
)


# Lists and events.


def a_list_is_imported(world: World) -> None:
    names = world.chance.sample(NAMES, world.chance.randint(1, len(NAMES)))
    if len(world.batches) >= MANY_BATCHES and world.chance.random() < 0.8:
        return
    with_pilot = world.chance.random() < 0.25
    if with_pilot:
        condition = world.chance.choice(("", "sent >= 1 within 2 hours", "bounced <= 0% within 1 hour"))
        start_at = world.now() + timedelta(hours=1) if world.chance.random() < 0.2 else None
        plan, digest = Plan(world.chance.choice(("1", "50%")), condition, start_at), str(world.number())
        opened = world.shelf.batches.open(name="list.csv", digest=digest, again=False, now=world.now(), plan=plan)
        batch_id = opened[0].id
    else:
        batch_id = world.shelf.batch()
    world.batches.append(batch_id)
    purpose = world.chance.choice(world.setting.purposes)
    channels = {name: world.chance.choice(CHANNELS) for name in names}
    of = ", ".join(f"{name} ({channel})" for name, channel in channels.items())
    allow_erased = world.chance.random() < 0.3
    world.note("list", batch_id, purpose, *(["with a pilot"] if with_pilot else []), "of", of)
    timezone = world.chance.choice(ZONES)
    lines = [
        _routed(world, line(row, customer(name, channel=channel, purpose=purpose, timezone=timezone)))
        for row, (name, channel) in enumerate(channels.items(), 2)
    ]
    world.shelf.batches.add(batch_id, lines, [], priority=BATCH, now=world.now(), allow_erased=allow_erased)
    world.shelf.batches.imported(batch_id, now=world.now())


def _routed(world: World, wanted: AcceptedLine) -> AcceptedLine:
    """The line, with the accounts of its route in their order."""
    accounts = list(world.setting.accounts)
    if world.chance.random() < 0.2:
        accounts.reverse()
    return replace(wanted, account=accounts[0], fallback_accounts=tuple(accounts[1:]))


def an_event_asks(world: World) -> None:
    after = timedelta(minutes=10) if world.chance.random() < 0.3 else None
    _event(world, EventKind.REQUESTED, invite_after=after)


def an_event_cancels(world: World) -> None:
    _event(world, EventKind.CANCELLED)


def an_event_updates(world: World) -> None:
    columns = {"email": f"new{world.chance.randint(0, 99)}@example.org"}
    if world.chance.random() < 0.5:
        columns = {"timezone": world.chance.choice(ZONES)}
    _event(world, EventKind.UPDATED, columns=columns)


def an_event_erases(world: World) -> None:
    if world.chance.random() < 0.3:
        _event(world, EventKind.ERASED)


def _event(world: World, kind: EventKind, **more: Any) -> None:
    name, number = world.chance.choice(NAMES), str(world.number())
    purpose = world.chance.choice(world.setting.purposes)
    if kind is EventKind.REQUESTED:
        wanted = customer(name, channel=world.chance.choice((Channel.EMAIL, Channel.BOTH)), purpose=purpose)
        more["line"] = _routed(world, line(0, wanted))
    if kind in (EventKind.ERASED, EventKind.UPDATED):
        purpose = ""
    digests = world.keyring.digests("event", number)
    arrival = Arrival(OPERATOR, "/crm", f"e{number}", kind, name, purpose, world.now(), digests, **more)
    receipts = world.inboxes.take([arrival], now=world.now()).receipts
    world.note("event:", kind, name, *(receipt.outcome for receipt in receipts))


# Calls, messages, webhooks and time.


def calls_end_and_others_leave(world: World) -> None:
    ended = [
        world.calls.pop(world.chance.randrange(len(world.calls)))
        for _ in range(world.chance.randint(0, len(world.calls)))
    ]
    flush(world, ended, most=world.chance.choice((1, 2, 100)))


def messages_end_and_others_leave(world: World) -> None:
    channel = world.chance.choice(("email", "email", "sms"))
    under_way = [one for one in world.messages if one[0] == channel]
    ended = world.chance.sample(under_way, world.chance.randint(0, len(under_way)))
    for one in ended:
        world.messages.remove(one)
    flush_messages(world, channel, [message for _, message in ended], most=world.chance.choice((1, 100)))


def a_worker_dies(world: World) -> None:
    """What it had under way has no answer, and nobody writes one down."""
    if world.chance.random() < 0.5 and world.calls:
        _, call = world.calls.pop(world.chance.randrange(len(world.calls)))
        world.note("a worker dies with the call for", *key_of_call(call))
        world.lost(call)
    elif world.messages:
        _, message = world.messages.pop(world.chance.randrange(len(world.messages)))
        world.note("a worker dies with a message to", message.invitation.customer.customer_id)


def a_webhook_comes(world: World) -> None:
    sessions = [one for one in world.rows(SessionRow) if one.reference]
    if sessions:
        session, (state, result) = world.chance.choice(sessions[-4:]), world.chance.choice(UPDATES)
        world.note("webhook:", session.customer_id, session.reference, state, *([result] if result else []))
        world.hear(session, state, result)


def the_beat_sweeps(world: World) -> None:
    world.note("sweep")
    now = world.now()
    world.shelf.expired_leases.end(POLICY, now=now, listing=world.lists)
    world.expiring.check(world.expiry_policy, now=now)
    world.decisions.finish_pauses(now=now)
    world.decisions.finish_changes(now=now)
    world.released_details.apply(now=now)
    for takeover in world.takeovers.possible():
        if moved := world.takeovers.failover.move(takeover, now=now):
            world.note("  moved from", takeover.source, "to", takeover.target, moved)


def pilots_go_on(world: World) -> None:
    if verdicts := world.pilots.step(now=world.now()):
        world.note("verdicts on pilots:", *verdicts)


def time_passes(world: World) -> None:
    step = world.chance.choice(STEPS)
    if world.chance.random() < 0.5:
        step = SECONDS
    world.clock.now += step
    world.note("time +", step)


# How often each happens.
OPERATIONS: dict[Callable[[World], None], int] = {
    a_list_is_imported: 6,
    an_event_asks: 4,
    an_event_cancels: 2,
    an_event_updates: 1,
    an_event_erases: 1,
    calls_end_and_others_leave: 22,
    messages_end_and_others_leave: 20,
    a_worker_dies: 2,
    a_webhook_comes: 5,
    a_message_is_reported_on: 6,
    an_address_may_get_messages_again: 2,
    a_customer_opens_the_link: 6,
    the_beat_sweeps: 10,
    pilots_go_on: 3,
    time_passes: 10,
    people.a_list_is_paused: 3,
    people.a_run_is_stopped: 3,
    people.a_list_is_resumed: 5,
    people.a_list_is_run_again: 3,
    people.a_list_is_cancelled: 4,
    people.failed_rows_are_retried: 4,
    people.held_rows_are_resolved: 5,
    people.the_desk_helps: 6,
    a_customer_says_not_me: 2,
    removals.a_list_is_purged: 2,
    removals.a_person_erases: 1,
    removals.retention_erases: 1,
    removals.what_is_old_goes: 1,
    outages.an_account_fails: 8,
    outages.everything_stops: 2,
    outages.the_machine_restarts: 1,
    outages.a_command_is_killed: 3,
    outages.keys_change: 3,
    outages.quiet_hours_change: 1,
}


def step(world: World) -> None:
    """One of them, drawn."""
    (operation,) = world.chance.choices(list(OPERATIONS), list(OPERATIONS.values()))
    operation(world)
    world.settle()
