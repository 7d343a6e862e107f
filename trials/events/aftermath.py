"""What a run of events left behind, beside what `trials.evidence` gathers. Gathered, not judged."""

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
    """`listed` is what `onboard bus dead list --json` shows; `heard` is what others were told, in its order.

    `doubtful` is how many messages their producers may have published twice; `struck`, how often a consumer, the
    database or the broker died: what is refused may lie in the dead queue once more for each message then in hand.
    """

    programme: Programme
    evidence: Evidence
    inbox: Sequence[Mapping[str, Any]] = ()
    customers: Mapping[str, bool] = field(default_factory=dict)  # whether something personal is kept, by id
    leading: Mapping[int, bool] = field(default_factory=dict)  # whether a job leads, by its id
    purposes: Mapping[int, str] = field(default_factory=dict)  # of a job, by its id
    outbox: int = 0
    left: int = 0
    dead: Sequence[Dead] = ()
    listed: int = 0
    heard: Sequence[Mapping[str, Any]] = ()
    answers: Sequence[Answer] = ()
    refusals: Sequence[Answer] = ()
    trapped: bool = False
    struck: int = 0
    doubtful: int = 0

    @cached_property
    def before(self) -> dict[str, Known]:
        """Customers of whom all was told before anybody worked."""
        return meant(self.programme.told_before)

    @cached_property
    def beside(self) -> dict[str, Known]:
        return meant(self.programme.told_beside)

    @cached_property
    def known(self) -> dict[str, Known]:
        return {**self.before, **self.beside}


def kept(ask: Ask) -> dict[str, Any]:
    """The rows that events alone have."""
    return {
        "inbox": ask("select source, event_id, kind, customer_id, outcome, encrypted from inbox"),
        # What is erased is an empty string or nothing at all.
        "customers": {
            row["customer_id"]: bool(row["kept"])
            for row in ask("select customer_id, coalesce(length(encrypted), 0) > 0 as kept from customer")
        },
        "leading": {row["id"]: bool(row["leads"]) for row in ask("select id, joins is null as leads from job")},
        "purposes": {row["id"]: row["purpose"] for row in ask("select id, purpose from job")},
        "outbox": int(ask("select count(*) as number from outbox")[0]["number"]),
    }


def read(heard: Sequence[bytes]) -> list[dict[str, Any]]:
    return [json.loads(body) for body in heard]
