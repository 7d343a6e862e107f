"""What happens to the customers: one function for each, which draws what it needs from the world's chance."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.store.shelf import POLICY, WEEK, customer, line
from trials.lists.answers import flush, flush_messages
from trials.lists.arrivals import (
    a_customer_opens_the_link,
    a_customer_says_not_me,
    a_message_is_reported_on,
    an_address_may_get_messages_again,
)
from trials.lists.removals import a_list_is_purged, a_person_erases, retention_erases
from trials.lists.world import DAY, NAMES, World, key_of, key_of_call
from worker.domain.events.incoming import OPERATOR, EventKind
from worker.domain.model.customers import Channel
from worker.domain.model.states import JobState, SessionState
from worker.domain.verification.session_updates import Result
from worker.store.base.priorities import BATCH
from worker.store.inbox.incoming_events import Arrival
from worker.store.onboarding.plans import Plan
from worker.store.operators.decisions import Verdict, Which
from worker.store.service_desk.cases import SeveralPurposes
from worker.store.tables import Batch, InvitationRow, Job, SessionRow

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
        plan, digest = Plan(first=world.chance.choice(("1", "50%"))), str(world.number())
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
    lines = [
        line(row, customer(name, channel=channel, purpose=purpose))
        for row, (name, channel) in enumerate(channels.items(), 2)
    ]
    world.shelf.batches.add(batch_id, lines, [], priority=BATCH, now=world.now(), allow_erased=allow_erased)
    world.shelf.batches.imported(batch_id, now=world.now())


def an_event_asks(world: World) -> None:
    after = timedelta(minutes=10) if world.chance.random() < 0.3 else None
    _event(world, EventKind.REQUESTED, invite_after=after)


def an_event_cancels(world: World) -> None:
    _event(world, EventKind.CANCELLED)


def an_event_updates(world: World) -> None:
    _event(world, EventKind.UPDATED, columns={"email": f"new{world.chance.randint(0, 99)}@example.org"})


def an_event_erases(world: World) -> None:
    if world.chance.random() < 0.3:
        _event(world, EventKind.ERASED)


def _event(world: World, kind: EventKind, **more: Any) -> None:
    name, number = world.chance.choice(NAMES), str(world.number())
    purpose = world.chance.choice(world.setting.purposes)
    if kind is EventKind.REQUESTED:
        wanted = customer(name, channel=world.chance.choice((Channel.EMAIL, Channel.BOTH)), purpose=purpose)
        more["line"] = replace(line(0, wanted))
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
        call = world.calls.pop(world.chance.randrange(len(world.calls)))
        world.note("a worker dies with the call for", *key_of_call(call))
        if not call.job.looks_up:
            world.in_doubt[key_of_call(call)].add(call.attempt_id)
    elif world.messages:
        _, message = world.messages.pop(world.chance.randrange(len(world.messages)))
        world.note("a worker dies with a message to", message.invitation.customer.customer_id)


def a_webhook_comes(world: World) -> None:
    sessions = [one for one in world.rows(SessionRow) if one.reference]
    if sessions:
        session, (state, result) = world.chance.choice(sessions[-4:]), world.chance.choice(UPDATES)
        world.note("webhook:", session.customer_id, session.reference, state, *([result] if result else []))
        world.hear(session.reference, state, result)


def the_beat_sweeps(world: World) -> None:
    world.note("sweep")
    now = world.now()
    world.shelf.expired_leases.end(POLICY, now=now, listing=("kyc",) if world.setting.lists_sessions else ())
    world.expiring.check(world.expiry_policy, now=now)
    world.decisions.finish_pauses(now=now)
    world.decisions.finish_changes(now=now)


def pilots_go_on(world: World) -> None:
    if verdicts := world.pilots.step(now=world.now()):
        world.note("verdicts on pilots:", *verdicts)


def time_passes(world: World) -> None:
    step = world.chance.choice(STEPS)
    if world.chance.random() < 0.5:
        step = SECONDS
    world.clock.now += step
    world.note("time +", step)


# People.


def _list(world: World, done: str, *, chance: float = 1.0, cancelled: bool = False) -> int | None:
    """A list to do this to; None: not now. `cancelled`: also one that is cancelled."""
    batch_id = world.chance.choice(world.batches) if world.batches else None
    if batch_id is None or (not cancelled and world.batch(batch_id).cancelled_at is not None):
        return None
    if world.chance.random() > chance:
        return None
    world.note(done, "list", batch_id)
    return batch_id


def a_list_is_paused(world: World) -> None:
    if batch_id := _list(world, "pause"):
        world.decisions.pause(batch_id, by="ann", now=world.now())


def a_run_is_stopped(world: World) -> None:
    if batch_id := _list(world, "stop"):
        world.decisions.stop(batch_id, by="ann", now=world.now())


def a_list_is_resumed(world: World) -> None:
    if batch_id := _list(world, "resume"):
        world.decisions.resume(batch_id, now=world.now())


def a_list_is_run_again(world: World) -> None:
    if batch_id := _list(world, "run"):
        world.decisions.lift(batch_id, now=world.now())
        world.decisions.take_leads(batch_id, stopped_only=world.chance.random() < 0.5, now=world.now())


def a_list_is_cancelled(world: World) -> None:
    if batch_id := _list(world, "cancel", chance=0.5, cancelled=True):
        world.decisions.cancel(batch_id, now=world.now())


def failed_rows_are_retried(world: World) -> None:
    if batch_id := _list(world, "retry"):
        world.decisions.retry(Which(batch_id), now=world.now())


def held_rows_are_resolved(world: World) -> None:
    verdict = world.chance.choice(list(Verdict))
    batch_id = _list(world, verdict, cancelled=verdict is Verdict.ABANDON)
    if batch_id is None:
        return
    if verdict is Verdict.REPEAT:  # a person answers for a second session
        for job in world.rows(Job, batch_id=batch_id, state=JobState.HELD, joins=None):
            world.in_doubt[key_of(job)].clear()
        world.texts.repeated({one.id for one in world.rows(InvitationRow, batch_id=batch_id)})
    world.decisions.resolve(Which(batch_id), verdict, now=world.now())


def the_desk_helps(world: World) -> None:
    name, what = world.chance.choice(NAMES), world.chance.choice(("new link", "resend", "address"))
    purpose = world.chance.choice(world.setting.purposes)
    now, desk = world.now(), world.desk
    said: Any
    try:
        if what == "new link":
            said = desk.new_link(name, purpose=purpose, now=now)
        elif what == "resend":
            said = desk.resend(name, purpose=purpose, now=now, channel=world.chance.choice((None, "email", "sms")))
        else:
            email, phone = f"{name}{world.chance.randint(0, 99)}@example.org".lower(), None
            if world.chance.random() < 0.3:
                email, phone = None, f"+370600000{world.chance.randint(10, 99)}"
            said = desk.correct_address(name, email=email, phone=phone, purpose=purpose, now=now)
    except SeveralPurposes as refused:
        said = refused
    world.note(f"desk, {what}:", name, said)


# How often each happens.
OPERATIONS: dict[Callable[[World], None], int] = {
    a_list_is_imported: 5,
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
    the_beat_sweeps: 8,
    pilots_go_on: 3,
    time_passes: 10,
    a_list_is_paused: 3,
    a_run_is_stopped: 3,
    a_list_is_resumed: 5,
    a_list_is_run_again: 3,
    a_list_is_cancelled: 4,
    failed_rows_are_retried: 4,
    held_rows_are_resolved: 5,
    the_desk_helps: 6,
    a_customer_says_not_me: 2,
    a_list_is_purged: 1,
    a_person_erases: 1,
    retention_erases: 1,
}


def step(world: World) -> None:
    """One of them, drawn."""
    (operation,) = world.chance.choices(list(OPERATIONS), list(OPERATIONS.values()))
    operation(world)
    world.settle()


def go_on_with_all(world: World) -> None:
    """Resume each list that is paused."""
    for batch in world.rows(Batch, cancelled_at=None):
        if batch.pause_cause:
            world.note("resume list", batch.id)
            world.decisions.resume(batch.id, now=world.now())
