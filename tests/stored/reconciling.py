"""Calls whose answers were lost, and the look-ups that reconcile them."""

from dataclasses import replace
from datetime import timedelta

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.model.endings import Kind, Problem, Reconcile
from tests.stored.shelf import POLICY, customer

AFTER = timedelta(seconds=15)  # the call's time-out and the margin
LOST = Problem(Kind.UNKNOWN, "connection closed without an answer")


def reconcilable(policy):
    """The policy, with calls that can be reconciled."""
    return replace(policy, reconcile_after=AFTER)


def call(shelf, policy, *customers):
    """Add rows and open their calls. Returns the batch and the opened calls."""
    batch = shelf.add(*(customers or [customer("Ona")]))
    return batch, shelf.open(shelf.claim(policy=policy), policy=policy)


def drop(shelf, policy, *customers):
    """Add rows whose answers are lost. Returns the batch."""
    batch, opened = call(shelf, policy, *customers)
    ends = [CallResult(item, shelf.clock(), Reconcile(item.reconcile_at, "unknown", "lost"), LOST) for item in opened]
    shelf.finish(*ends, policy=policy)
    return batch


def advance(shelf, **step):
    shelf.clock.advance(**(step or {"seconds": 75}))


def sweep(shelf):
    return shelf.expired_leases.end(POLICY, now=shelf.clock())


def look_up(shelf, policy):
    """Claim the due look-up and write down its attempt."""
    (opened,) = shelf.open(shelf.claim(policy=policy), policy=policy)
    assert opened.unknown_call is not None
    return opened
