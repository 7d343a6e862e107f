"""Gathers the results of a run of events that `trials.evidence` does not gather. The promises check them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trials.events.meaning import Known, meant
from trials.events.programme import Programme
from trials.events.wires import Answer
from trials.evidence import Ask, Evidence
from worker.engine.container import Parts
from worker.inbound.bus.dead_lettering import message_in
from worker.settings import load
from worker.store.inbox.refused_events import KeptMessage


@dataclass(frozen=True)
class Dead:
    """A refused message in the database."""

    id: str
    body: bytes
    reason: str


@dataclass(frozen=True)
class Aftermath:
    """`dead` has the refused messages, `notices` what the dead queue says of them, with headers.

    `listed` is the output of `onboard bus dead list --json`; `published` has the worker's own events, in order.
    `unconfirmed`: the number of messages that producers may have published twice. `struck`: how often a consumer, the
    database or the broker died; each time, the notices of messages that were being refused may be there twice.
    """

    programme: Programme
    evidence: Evidence
    inbox: Sequence[Mapping[str, Any]] = ()
    customers: Mapping[str, bool] = field(default_factory=dict)  # by id: True if personal data is stored
    leading: Mapping[int, bool] = field(default_factory=dict)  # by job: True if it leads
    purposes: Mapping[int, str] = field(default_factory=dict)  # by job
    outbox: int = 0
    left: int = 0
    dead: Sequence[Dead] = ()
    notices: Sequence[bytes] = ()
    listed: int = 0
    published: Sequence[Mapping[str, Any]] = ()
    answers: Sequence[Answer] = ()
    refusals: Sequence[Answer] = ()
    trapped: bool = False
    struck: int = 0
    unconfirmed: int = 0

    @cached_property
    def before(self) -> dict[str, Known]:
        """Customers whose events were all published before a worker ran."""
        return meant(self.programme.events_before)

    @cached_property
    def during(self) -> dict[str, Known]:
        return meant(self.programme.events_during)

    @cached_property
    def known(self) -> dict[str, Known]:
        return {**self.before, **self.during}


def kept(ask: Ask) -> dict[str, Any]:
    """The rows that exist only for events."""
    return {
        "inbox": ask("select source, event_id, kind, customer_id, outcome, encrypted from inbox"),
        # Erased data is an empty string or null.
        "customers": {
            row["customer_id"]: bool(row["kept"])
            for row in ask("select customer_id, coalesce(length(encrypted), 0) > 0 as kept from customer")
        },
        "leading": {row["id"]: bool(row["leads"]) for row in ask("select id, joins is null as leads from job")},
        "purposes": {row["id"]: row["purpose"] for row in ask("select id, purpose from job")},
        "outbox": int(ask("select count(*) as number from outbox")[0]["number"]),
    }


def read(published: Sequence[bytes]) -> list[dict[str, Any]]:
    return [json.loads(body) for body in published]


def refused(config: Path, environ: Mapping[str, str], programme: Programme) -> list[Dead]:
    """The refused messages in the database."""
    with closing(Parts(load(config, environ=environ))) as parts:
        return dead_of(parts.refused_events.all_until(parts.clock()), programme)


def dead_of(kept: Iterable[KeptMessage], programme: Programme) -> list[Dead]:
    """Refused messages as they are kept. Of one that is too large only the size is known.

    Two may have the same size: each body stands for one of them.
    """
    by_size: dict[int, list[bytes]] = {}
    for _, message in programme.refused:
        by_size.setdefault(len(message.body), []).append(message.body)

    def body(one: KeptMessage) -> bytes:
        if one.content:
            return message_in(one.content).body
        bodies = by_size.get(one.size)
        return bodies.pop() if bodies else b""

    return [Dead(str(one.id), body(one), one.reason) for one in kept]
