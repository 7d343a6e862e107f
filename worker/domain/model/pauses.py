"""Why a batch is paused, and who may lift the pause."""

from datetime import datetime
from enum import StrEnum

from worker.foundation.timestamps import written


class PauseCause(StrEnum):
    """What paused a batch.

    `onboard resume` lifts every pause. An interrupt is also lifted by `run` with the same list, and by `up` and
    `run --all` once a person has agreed.
    """

    PERSON = "person"  # `onboard pause`
    INTERRUPT = "interrupt"  # Ctrl-C on `onboard run`
    ITSELF = "itself"  # too many of its messages came back, or its pilot asks for a person


def paused_by(cause: PauseCause, who: str, at: datetime, why: str = "") -> str:
    """Why a person's batch is paused: who did it, when, and the reason that was given, for people."""
    did = "stopped with Ctrl-C" if cause is PauseCause.INTERRUPT else "paused"
    return f"{did} by {who}, {written(at)}{f': {why}' if why else ''}"
