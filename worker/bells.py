"""Ringing workers over the broker. A bell that is lost costs a second: the sweep rings again."""

import logging

from kombu.exceptions import OperationalError as BrokerAway

from worker.app import app

log = logging.getLogger(__name__)


def ring(step: str, name: str) -> None:
    """Say that something is due for an account (`issue`) or a channel (`invite`). Never raises, never waits long."""
    try:
        # No retrying: whoever rings would stand still with it.
        app.send_task(step, args=(name,), queue=step, retry=False)
    except (BrokerAway, OSError) as error:
        away = type(error).__name__
        log.warning("the broker is away (%s): a bell for %s %s is lost until the sweep", away, step, name)
