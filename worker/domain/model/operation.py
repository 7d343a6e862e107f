"""Whether anything works, and what needs a person: what `onboard status` begins and ends with."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from worker.domain.model.stops import is_at_cap, way_out
from worker.foundation.plural import counted
from worker.foundation.timestamps import written

# These kinds of processes claim rows; the others only receive.
WORK = frozenset({"run", "up", "worker"})
IMPORT = "import"
# A process says every five seconds that it runs: one that is late by as much may be busy, or was killed.
SILENT_AFTER = timedelta(seconds=10)
# Beat sends a wake-up each second. Workers look for due work by themselves once none has come for so long.
BEAT_IS_MISSING_AFTER = timedelta(seconds=15)
# Then they wake each other for what is due, over the broker. A worker that works alone takes one in so long at least.
WAKE_UPS_MISSING_AFTER = timedelta(minutes=1)
# A provider's restart takes a minute or two; a person who hears of each would hear of nothing.
FAILING_AFTER = timedelta(minutes=5)


def starts_work(*, by_workers: bool) -> str:
    """The command that starts work. `by_workers`: a broker is configured, so workers are meant."""
    return "onboard worker" if by_workers else "onboard up"


def no_process(starts: str) -> str:
    """That nothing works, and the command that changes it."""
    return f"no process is working: `{starts}`"


def no_process_of_batch(starts: str) -> str:
    """That the processes that work leave a batch alone, and the command that changes it."""
    return f"no process works this batch: `{starts}`"


@dataclass(frozen=True)
class Wakening:
    """When the last wake-ups came to workers: the scheduler's, and another, which needs the broker and no scheduler."""

    beat_at: datetime | None
    other_at: datetime | None = None

    def beat_is_missing(self, now: datetime) -> bool:
        return self.beat_at is None or now - self.beat_at > BEAT_IS_MISSING_AFTER

    def others_come(self, now: datetime) -> bool:
        """Whether wake-ups came since the scheduler's ended: then the broker works."""
        if self.other_at is None or now - self.other_at > WAKE_UPS_MISSING_AFTER:
            return False
        return self.beat_at is None or self.other_at - self.beat_at > BEAT_IS_MISSING_AFTER

    def none_come(self, now: datetime) -> bool:
        """Whether no wake-up reaches a worker, as far as the database knows."""
        return self.beat_is_missing(now) and not self.others_come(now)


@dataclass(frozen=True)
class Running:
    """A process that runs. `batch_id`: the one batch that it works; None: all. `first_keys`: the ids of the keys with
    which it encrypts and hashes, separated by a space."""

    kind: str
    host: str
    pid: int
    release: str
    batch_id: int | None
    started_at: datetime
    seen_at: datetime
    first_keys: str = ""

    def silence_in_words(self, now: datetime) -> str:
        """When the process was last seen, if that is a while ago; empty: it was seen just now."""
        silence = now - self.seen_at
        return f"last seen {silence.seconds} s ago" if silence >= SILENT_AFTER else ""


class Level(IntEnum):
    """The exit codes of `status --check`, as monitoring systems read them."""

    WELL = 0
    NEEDS_A_PERSON = 1
    CRITICAL = 2


@dataclass(frozen=True)
class Attention:
    """Something that waits for a person. `command` does it, or shows more."""

    what: str  # stop, database, process, beat, key, account, sender, texts, target, queue or batch
    name: str
    reason: str
    command: str
    level: Level = Level.NEEDS_A_PERSON


@dataclass(frozen=True)
class WaitingBatch:
    """A batch that waits for a person: paused (`reason` says by whom), with held rows, or with an import that was cut
    off. `rows` wait for that; 0: rows are not what waits."""

    id: int
    name: str
    rows: int
    reason: str
    command: str


@dataclass(frozen=True)
class FailingTarget:
    """A target of outgoing events that has accepted none since a while, and how many wait and were given up: numbers,
    or "more than 10,000"."""

    name: str
    since: datetime
    reason: str
    waiting: str
    given_up: str


def no_account(name: str, rows: int) -> str:
    """That rows wait for an account that the configuration does not have: it was renamed, or taken out."""
    return f"{counted(rows, 'row waits', 'rows wait')} for the account {name}, which this configuration does not have"


def is_worked(processes: Iterable[Running], batch_id: int) -> bool:
    """Whether a process works this batch."""
    return bool(_kinds(processes, batch_id))


def is_worked_by_workers(processes: Iterable[Running], batch_id: int) -> bool:
    """Whether all processes that work this batch are workers, which begin nothing without a wake-up."""
    return _kinds(processes, batch_id) == {"worker"}


def _kinds(processes: Iterable[Running], batch_id: int) -> set[str]:
    return {one.kind for one in processes if one.kind in WORK and one.batch_id in (None, batch_id)}


def no_wake_up(wakening: Wakening) -> str:
    """That no worker hears of work, and since when."""
    at = wakening.beat_at
    return f"no wake-up of the scheduler has come {'yet' if at is None else f'since {written(at)}'}"


def attention(
    processes: Collection[Running],
    *,
    due: Collection[str],
    wakening: Wakening,
    stopped: Mapping[str, str],
    senders: Collection[str],
    batches: Sequence[WaitingBatch],
    missing_keys: Mapping[str, int],
    starts: str = "onboard up",
    everything: str = "",
    unwritable: str = "",
    missing_accounts: Mapping[str, tuple[int, int]] | None = None,
    missing_channels: Mapping[str, tuple[int, int]] | None = None,
    failing: Mapping[str, str] | None = None,
    countries: Mapping[str, tuple[int, int]] | None = None,
    targets: Sequence[FailingTarget] = (),
    refused_events: Mapping[str, int] | None = None,
    now: datetime,
) -> list[Attention]:
    """What needs a person, the most urgent first.

    `due` names the accounts and senders with work that is due now. `stopped` has the reason by account or sender, and
    `missing_keys` the number of held rows by the key that they need. `everything`: who stopped everything, and why;
    empty: it is not stopped. `starts`: the command that starts work. `unwritable`: why nothing can be written; empty:
    it can. A process that works may not be among `processes` then: it cannot say that it runs. `countries`: those whose
    texts wait, with the texts of the hour, and how often one waited. `missing_accounts`: those that rows wait for and
    the configuration does not have, with the rows, and the first of their batches; `missing_channels`: the same of
    messages. `failing`: by account or sender, since when its calls fail, and why. `refused_events`: by queue, how many.
    """
    found: list[Attention] = []
    if everything:
        found.append(Attention("stop", "", everything, "onboard resume --all"))
    if unwritable:
        found.append(Attention("database", "", unwritable, "onboard doctor", Level.CRITICAL))
    elif due and not any(one.kind in WORK for one in processes):
        why = f"no process is working, and work is due for {', '.join(sorted(due))}"
        found.append(Attention("process", "", why, starts, Level.CRITICAL))
    workers = any(one.kind == "worker" for one in processes)
    if workers and wakening.beat_is_missing(now):
        slow = "`onboard beat` does not run, and workers look for due work only every ten seconds"
        if wakening.others_come(now):
            found.append(Attention("beat", "", f"{no_wake_up(wakening)}, but others come: {slow}", "onboard beat"))
        else:
            away = "the broker cannot be reached, and new work waits until it is back"
            found.append(Attention("beat", "", f"{no_wake_up(wakening)}: {away}, or {slow}", "onboard doctor"))
    for key_id, held in missing_keys.items():
        why = f"{counted(held, 'held row needs', 'held rows need')} it, and it is not in [encryption]: put it back"
        found.append(Attention("key", key_id, why, "onboard keys status"))
    for name, (rows_left, batch_id) in sorted((missing_accounts or {}).items()):
        why = f"{no_account(name, rows_left)}: put it back"
        found.append(Attention("account", name, why, f"onboard report {batch_id}"))
    for name, (messages, batch_id) in sorted((missing_channels or {}).items()):
        waiting = counted(messages, "message waits", "messages wait")
        why = f"{waiting} for this channel, which this configuration does not have: put it back"
        found.append(Attention("sender", name, why, f"onboard report {batch_id}"))
    for name, reason in sorted(stopped.items()):
        what = "sender" if name in senders else "account"
        first = name.partition(",")[0]
        if is_at_cap(reason):
            why = f"stopped: {reason}; {way_out(first, reason)}"
            found.append(Attention(what, name, why, "onboard account list"))
        else:
            why = f"stopped: {reason}; correct the cause first"
            found.append(Attention(what, name, why, f"onboard account resume {first}"))
    for name, why in sorted((failing or {}).items()):
        found.append(Attention("sender" if name in senders else "account", name, why, "onboard account list"))
    for country, (sent, refused) in sorted((countries or {}).items()):
        why = (
            f"{counted(sent, 'text')} in an hour, the most that [sms] per_country allows, and {refused} wait: who asks?"
        )
        found.append(Attention("texts", country, why, "onboard report latest"))
    for target in targets:
        events = f"events that wait: {target.waiting}; given up: {target.given_up}"
        why = f"has accepted no event since {written(target.since)} ({target.reason}); {events}"
        found.append(Attention("target", target.name, why, "onboard outbox list"))
    for queue, number in sorted((refused_events or {}).items()):
        why = f"{counted(number, 'refused event waits', 'refused events wait')} to be put back or dropped"
        found.append(Attention("queue", queue, why, "onboard bus dead list"))
    for batch in batches:
        rows = f"{counted(batch.rows, 'row waits', 'rows wait')}: " if batch.rows else ""
        why = f"{rows}{batch.reason}"
        found.append(Attention("batch", f"{batch.id} ({batch.name})", why, batch.command))
    return found


def level_of(found: Iterable[Attention]) -> Level:
    """The most urgent level; well if nothing needs a person."""
    return max((one.level for one in found), default=Level.WELL)
