"""How calls and messages under way end: well, refused, lost, or not made."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from tests.store.reconciling import AFTER, LOST
from tests.store.shelf import POLICY, WEEK
from trials.lists.world import World, key_of_call
from worker.domain.model.endings import Asked, Cancel, Done, Hold, Kind, Problem, Reconcile, Retry
from worker.domain.model.reasons import Reason
from worker.domain.model.reconciliation import (
    Found,
    Nothing,
    OrphanRule,
    UnknownCall,
    Unmatched,
    ending_of_reconciliation,
)
from worker.store.issuing.issue_results import IssueResult
from worker.store.issuing.open_attempts import OpenedJob
from worker.store.messages.handovers import InviteResult, OpenedInvitation

BACKOFF = timedelta(seconds=5)
REFUSED = Problem(Kind.BAD_INPUT, "no")
BUSY = Problem(Kind.TRANSIENT, "HTTP 500")


def flush(world: World, calls: Sequence[tuple[str, OpenedJob]], *, most: int, well: bool = False) -> None:
    """Write how these calls end, and let as many as `most` others of each account leave. `well`: all go well."""
    for account in world.setting.accounts:
        _flush(world, account, [call for of, call in calls if of == account], most=most, well=well)


def _flush(world: World, account: str, calls: Sequence[OpenedJob], *, most: int, well: bool) -> None:
    results = [_of_call(world, call, well) for call in calls]
    for result in results:
        call = result.opened
        words = ["look-up"] if call.job.looks_up else []
        world.note("  answer for", *key_of_call(call), "batch", call.job.batch_id, _word(result.ending), *words)
    world.opened(account, world.shelf.flush(*results, most=most, policy=world.policy(account)).opened)


def flush_messages(
    world: World, channel: str, messages: Sequence[OpenedInvitation], *, most: int, well: bool = False
) -> None:
    results = [_of_message(world, message, well) for message in messages]
    for result in results:
        item = result.opened.invitation
        world.texts.ended(result)
        world.addresses.ended(result)
        world.note("  handed over to", item.customer.customer_id, channel, item.kind, _word(result.ending))
    # Mails may be repeated; what became of a text can be asked.
    policy = replace(
        world.shelf.on(channel),
        repeatable=channel == "email",
        reconcile_after=AFTER if channel == "sms" else None,
        reissue_at=lambda _account, expires_at: expires_at,
    )
    world.opened_messages(channel, world.shelf.flush_messages(*results, most=most, policy=policy).opened)


def _word(ending: object) -> str:
    return "not made" if ending is None else type(ending).__name__.lower()


def _of_call(world: World, call: OpenedJob, well: bool) -> IssueResult:
    now, drawn = world.now(), world.chance.random()
    if call.job.unknown_call is not None:
        return _of_look_up(world, call, call.job.unknown_call, 0.0 if well else drawn)
    if call.job.asks is not None:
        return IssueResult(call, now, None if drawn < 0.2 and not well else Asked())
    doubts = world.in_doubt[key_of_call(call)]
    if call.attempt_id in world.looked_up:
        drawn, well = 1.0, False  # the provider does not list it: no answer was on its way
    doubts.discard(call.attempt_id)
    if well or drawn < 0.55:
        return IssueResult(call, now, Done(), session=world.session())
    if drawn < 0.7:
        return IssueResult(call, now, Retry(now + BACKOFF, Reason.TRANSIENT, "HTTP 500"), BUSY)
    if drawn < 0.8:
        return IssueResult(call, now, Cancel(Reason.BAD_INPUT, "no"), REFUSED)
    if drawn < 0.85:
        return IssueResult(call, now, None)
    if call.job.lease_until > now:
        doubts.add(call.attempt_id)
    if call.reconcile_at is None:
        return IssueResult(call, now, Hold(Reason.UNKNOWN, "lost"), LOST)
    return IssueResult(call, now, Reconcile(call.reconcile_at, Reason.UNKNOWN, "lost"), LOST)


def _of_look_up(world: World, look_up: OpenedJob, call: UnknownCall, drawn: float) -> IssueResult:
    """The provider lists nothing, lists a session that may be the call's, or is not asked."""
    if drawn >= 0.8:
        return IssueResult(look_up, world.now(), None)
    found: Found = Nothing()
    if drawn >= 0.5:
        found = Unmatched((f"lost-{call.attempt_id.hex[:8]}",), "it lists one")
    rule = OrphanRule(WEEK)
    ending = ending_of_reconciliation(found, call, look_up.job.attempts, POLICY, world.now(), 0.5, rule)
    if isinstance(found, Nothing) or isinstance(ending, Retry):
        world.in_doubt[key_of_call(look_up)].discard(call.attempt_id)
    world.looked_up.add(call.attempt_id)
    return IssueResult(look_up, world.now(), ending, found=found)


def _of_message(world: World, message: OpenedInvitation, well: bool) -> InviteResult:
    now, drawn, reference = world.now(), world.chance.random(), f"SM{world.number()}"
    if message.invitation.unknown_call is not None:
        if well or drawn < 0.5:
            return InviteResult(message, now, Done(), reference=reference)
        return InviteResult(message, now, Retry(now, Reason.UNKNOWN, "not carried out"), found=Nothing())
    if well or drawn < 0.6:
        return InviteResult(message, now, Done(), reference=reference)
    if drawn < 0.72:
        return InviteResult(message, now, Retry(now + BACKOFF, Reason.TRANSIENT, "HTTP 500"), BUSY)
    if drawn < 0.82:
        return InviteResult(message, now, Cancel(Reason.BAD_INPUT, "no"), REFUSED)
    if drawn < 0.87:
        return InviteResult(message, now, None)
    if message.reconcile_at is not None and drawn < 0.95:
        return InviteResult(message, now, Reconcile(message.reconcile_at, Reason.UNKNOWN, "lost"), LOST)
    if message.repeatable:
        return InviteResult(message, now, Retry(now + BACKOFF, Reason.UNKNOWN, "again"), LOST)
    return InviteResult(message, now, Hold(Reason.UNKNOWN, "lost"), LOST)
