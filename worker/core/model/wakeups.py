"""A wake-up says that something is due for an account, a channel or a target. The rows say what."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class WorkStep(StrEnum):
    ISSUE = "issue"  # sessions of a provider account
    INVITE = "invite"  # messages of a channel
    PUBLISH = "publish"  # events to a target


@dataclass(frozen=True, slots=True)
class WakeUp:
    """Losing or repeating a wake-up changes when work is done, never what: the sweep sends another."""

    step: WorkStep
    name: str

    @classmethod
    def issue(cls, account: str) -> Self:
        return cls(WorkStep.ISSUE, account)

    @classmethod
    def invite(cls, channel: str) -> Self:
        return cls(WorkStep.INVITE, channel)

    @classmethod
    def publish(cls, target: str) -> Self:
        return cls(WorkStep.PUBLISH, target)

    def __str__(self) -> str:
        return f"{self.step.value}:{self.name}"


# Logged without the name: anybody with access to the broker may have written it, so it may be an address.
NAME_UNKNOWN = (
    "a wake-up names an account, a channel or a target that this configuration does not have: another process has"
    " another configuration, or another program writes to our queues"
)
# Called after a commit with what the commit made due; returns at once.
Wake = Callable[[WakeUp], object]
