"""What people are alerted of, in words: names of accounts, numbers of batches, and nothing personal. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from worker.domain.events.published import moment
from worker.foundation.plural import are, counted

TARGET = "alert/"  # before the name of a target of alerts, in the outbox
EVENT = "alert"  # the type in the outbox
SUBJECT_MOST = 120


class AlertKind(StrEnum):
    """In the order in which a message names them."""

    AUDIT = "audit_broken"
    NOBODY = "nobody_working"
    ACCOUNT = "account_stopped"
    SENDER = "sender_stopped"
    FAILING = "calls_failing"
    NOT_CONFIGURED = "not_configured"
    PAUSED = "batch_paused"
    HELD = "rows_held"
    TARGET = "events_not_accepted"
    REFUSED = "events_refused"
    WEBHOOKS = "webhooks_to_check"
    BEAT = "beat_missing"
    BUS = "bus_missing"
    DONE = "batch_done"


ORDER = list(AlertKind)
# What ends by being told: there is no "over" of it.
WITHOUT_END = frozenset({AlertKind.DONE})
# How long a thing must last before people are alerted: a restart is none, and held rows come in groups.
LASTS: Mapping[AlertKind, timedelta] = {
    AlertKind.NOBODY: timedelta(minutes=1),
    AlertKind.BEAT: timedelta(minutes=1),
    AlertKind.BUS: timedelta(minutes=1),
    AlertKind.NOT_CONFIGURED: timedelta(minutes=1),
    AlertKind.HELD: timedelta(minutes=1),
    AlertKind.TARGET: timedelta(minutes=1),
    AlertKind.REFUSED: timedelta(minutes=1),
    AlertKind.WEBHOOKS: timedelta(minutes=1),
}


class Condition(NamedTuple):
    """Something that is so now. `name`: an account, a channel, a batch's number, a target or a queue; or empty.
    `rows`: how many."""

    kind: AlertKind
    name: str = ""
    rows: int = 0

    @property
    def key(self) -> str:
        return f"{self.kind.value}:{self.name}"


class Remembered(NamedTuple):
    """What the database remembers of a condition: since when it is so, and when people were alerted."""

    condition: Condition
    seen_at: datetime
    fired_at: datetime | None


@dataclass(frozen=True)
class Decision:
    """What changes: conditions that are new, those that people are alerted of now, those that are over for people, and
    those that ended before people were alerted."""

    seen: Sequence[Condition] = field(default_factory=list)
    fired: Sequence[Condition] = field(default_factory=list)
    over: Sequence[Condition] = field(default_factory=list)
    forgotten: Sequence[Condition] = field(default_factory=list)

    @property
    def tells(self) -> bool:
        return bool(self.fired or self.over)


def decide(now_so: Iterable[Condition], known: Iterable[Remembered], *, may_tell: bool, now: datetime) -> Decision:
    """What to do about the conditions that are so now. `may_tell` False: the last message is too recent, so all that
    would be told waits for the next one. So a storm is one message."""
    current = {one.key: one for one in now_so}
    before = {one.condition.key: one for one in known}
    since = {key: before[key].seen_at if key in before else now for key in current}
    is_told = {key for key, one in before.items() if one.fired_at is not None}
    gone = [one for key, one in before.items() if key not in current]
    return Decision(
        seen=[one for key, one in current.items() if key not in before],
        fired=_ordered(
            one
            for key, one in current.items()
            if may_tell and key not in is_told and now - since[key] >= LASTS.get(one.kind, timedelta(0))
        ),
        over=_ordered(one.condition for one in gone if may_tell and one.fired_at is not None),
        forgotten=[one.condition for one in gone if one.fired_at is None],
    )


def _ordered(conditions: Iterable[Condition]) -> list[Condition]:
    return sorted(conditions, key=lambda one: (ORDER.index(one.kind), one.name))


_WORDS: Mapping[AlertKind, tuple[str, str, str]] = {
    # What is so, what is so when it is over, and the command that does or shows more.
    AlertKind.AUDIT: (
        "The head of the audit log is not signed by a key of this configuration, or an older one has come back.",
        "The audit log is sealed again.",
        "onboard audit verify",
    ),
    AlertKind.NOBODY: ("Work is due, and no process is working.", "A process is working again.", "onboard status"),
    AlertKind.ACCOUNT: ("The account {name} is stopped.", "The account {name} works again.", "onboard account list"),
    AlertKind.SENDER: ("The sender {name} is stopped.", "The sender {name} works again.", "onboard account list"),
    AlertKind.FAILING: (
        "{name}: no call has succeeded for minutes.",
        "{name}: the row of failed calls is over.",
        "onboard account list",
    ),
    AlertKind.NOT_CONFIGURED: (
        "Rows wait for {name}, which this configuration does not have.",
        "No row waits for {name} without its configuration any more.",
        "onboard status",
    ),
    AlertKind.PAUSED: (
        "Batch {name} has paused itself. Its status says why.",
        "Batch {name} is not paused any more.",
        "onboard status {name}",
    ),
    AlertKind.HELD: (
        "Batch {name}: {rows} held and wait for a decision.",
        "Batch {name}: no row is held any more.",
        "onboard report {name}",
    ),
    AlertKind.TARGET: ("{name} accepts no events.", "{name} answers again.", "onboard outbox list"),
    AlertKind.REFUSED: (
        "Events of the queue {name} were refused, and wait to be put back or dropped.",
        "No refused event of the queue {name} waits any more.",
        "onboard bus dead list",
    ),
    AlertKind.WEBHOOKS: (
        "Webhooks wait for a person to check them.",
        "No webhook waits to be checked any more.",
        "onboard webhook list",
    ),
    AlertKind.BEAT: (
        "No scheduler has woken the workers for a minute: none runs, or the broker cannot be reached.",
        "The scheduler wakes the workers again.",
        "onboard doctor",
    ),
    AlertKind.BUS: (
        "No process takes events from the bus: they wait in the broker.",
        "A process takes events from the bus again.",
        "onboard bus",
    ),
    AlertKind.DONE: (
        "Batch {name} is sent: the first message of each row is out, or the row has ended or is held.",
        "",
        "onboard report {name}",
    ),
}


def as_data(fired: Iterable[Condition], over: Iterable[Condition], *, now: datetime) -> dict[str, Any]:
    """What a message says, as the outbox keeps it and a webhook of the form `json` gets it."""
    return {
        "at": moment(now),
        "raised": [_facts(one, 0) for one in fired],
        "over": [_facts(one, 1) for one in over],
    }


def only(data: Mapping[str, Any], kinds: Collection[str]) -> dict[str, Any] | None:
    """The part that a target wants; None if there is none."""
    kept = {part: [one for one in data[part] if one["kind"] in kinds] for part in ("raised", "over")}
    return {**data, **kept} if any(kept.values()) else None


def _facts(one: Condition, form: int) -> dict[str, str]:
    rows = f"{counted(one.rows, 'row')} {are(one.rows)}"
    words = _WORDS[one.kind]
    return {
        "kind": one.kind.value,
        "name": one.name,
        "text": words[form].format(name=one.name, rows=rows),
        "command": words[2].format(name=one.name) if form == 0 else "",
    }


def subject(data: Mapping[str, Any]) -> str:
    """One line."""
    facts = [*data["raised"], *data["over"]]
    more = f" (and {len(facts) - 1} more)" if len(facts) > 1 else ""
    return f"Onboarding: {facts[0]['text'].rstrip('.')}{more}"[:SUBJECT_MOST]


def lines(data: Mapping[str, Any]) -> list[str]:
    """The message as text, line by line."""
    raised = [f"{one['text']} {one['command']}" for one in data["raised"]]
    return raised + [f"Over: {one['text']}" for one in data["over"]]


TEST: Mapping[str, Any] = {
    "raised": [
        {"kind": "test", "name": "", "text": "This is a test: alerts arrive here.", "command": "onboard alerts test"}
    ],
    "over": [],
}
