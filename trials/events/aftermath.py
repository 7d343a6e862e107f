"""Gathers the results of a run of events that `trials.evidence` does not gather. The promises check them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from trials.events.meaning import Known, meant
from trials.events.programme import Programme
from trials.events.wires import Answer, Dead
from trials.evidence import Ask, Evidence


@dataclass(frozen=True)
class Aftermath:
    """`listed` is the output of `onboard bus dead list --json`; `published` has the worker's own events, in order.

    `unconfirmed`: the number of messages that producers may have published twice. `struck`: how often a consumer, the
    database or the broker died; each time, a refused message that was being read may be in the dead queue twice.
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
