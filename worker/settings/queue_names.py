"""The names of the queues at the brokers, and that no two of them are one.

The workers' queues have the prefix of [broker], so that other applications can share the broker. `requests` has none:
other projects send to it.
"""

import re
from collections.abc import Iterator
from typing import Annotated

from onboarding_worker.settings.outside import REQUESTS, Bus
from onboarding_worker.settings.problems import Findings
from onboarding_worker.settings.values import Shown, only

ISSUE, INVITE, PUBLISH, SWEEP = "issue", "invite", "tell", "sweep"
QUEUES = (ISSUE, INVITE, PUBLISH, SWEEP)
EXCHANGE = "wake-ups"
# On Redis: kombu's keys for messages that nobody has acknowledged, by the names of its options. With the same keys our
# workers would have those of another application delivered again.
UNACKED = {"unacked_key": "unacked", "unacked_index_key": "unacked_index", "unacked_mutex_key": "unacked_mutex"}
# What the names next to a queue of events end with: `events/bus/sources.py`.
NEXT_TO_EVENTS = ("", ".dead", ".undelivered", ".stream", ".moving")


def _is_prefix(text: str) -> bool:
    # RabbitMQ keeps "amq." for itself.
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}", text) is not None and not text.startswith("amq.")


QueuePrefix = Annotated[
    str,
    only(_is_prefix, "1 to 50 letters, digits, `.`, `_` and `-`, first a letter or a digit, and not `amq.`"),
    Shown("string"),
]


def check_names(prefix: str, bus: Bus | None, findings: Findings) -> None:
    """Refuse two names that are one: the messages of one queue would come to the other."""
    taken = dict.fromkeys(_beside(REQUESTS), "requests")
    for name in (*QUEUES, EXCHANGE, *UNACKED.values()):
        taken[prefix + name] = "the workers ([broker] prefix)"
    if bus is None:
        return
    for name in _beside(bus.queue):
        if name in taken:
            findings.consequence(("bus", "queue"), f"`{name}` is a name of {taken[name]}: name another queue")
    if whose := (taken | dict.fromkeys(_beside(bus.queue), "the bus ([bus] queue)")).get(bus.exchange):
        findings.consequence(("bus", "exchange"), f"`{bus.exchange}` is a name of {whose}: name another exchange")


def _beside(queue: str) -> Iterator[str]:
    return (queue + end for end in NEXT_TO_EVENTS)
