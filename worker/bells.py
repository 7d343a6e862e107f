"""Ringing workers over the broker. A bell that is lost costs a second: the sweep rings again."""

import logging

from kombu.exceptions import OperationalError

from worker.app import app
from worker.clock import monotonic
from worker.outage import Outage

log = logging.getLogger(__name__)
BROKER_AWAY = (OperationalError, OSError)
_broker = Outage(log, logging.WARNING)


def ring(step: str, name: str) -> None:
    """Say that something is due for an account (`issue`) or a channel (`invite`). Never raises, never waits long."""
    try:
        # No retrying: whoever rings would stand still with it.
        app.send_task(step, args=(name,), queue=step, retry=False)
    except BROKER_AWAY as error:
        away = type(error).__name__
        _broker.lasts(f"the broker is away ({away}): bells are lost; the sweep rings when it is back", monotonic())
    else:
        _broker.over("the broker is there again: bells ring")
