"""Ringing workers over the broker. A bell that is lost costs a second: the sweep rings again."""

import os

from worker.runtime.celery_app import app
from worker.runtime.wakeup_sender import BROKER_AWAY, Ringer, ring_by

__all__ = ["BROKER_AWAY", "Ringer", "ring", "ring_soon"]


def ring(step: str, name: str) -> bool:
    """As `ring_by`, by this configuration's app."""
    return ring_by(app, step, name)


_ringer = Ringer(ring)


def ring_soon(step: str, name: str) -> None:
    """As `ring`, without waiting for the broker."""
    _ringer.ring(step, name)


def _in_a_child() -> None:
    # Threads do not survive a fork, and a lock may have been held.
    global _ringer
    _ringer = Ringer(ring)


os.register_at_fork(after_in_child=_in_a_child)
