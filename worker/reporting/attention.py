"""What needs a person, in words: `onboard status` ends with it. Each function is for one kind of facts.

Features say it themselves: `source_reports`, `standings`.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from worker.core.foundation.plural import counted
from worker.core.model.stops import is_at_cap, way_out
from worker.reporting.operation import TAKES_EVENTS, WORK, Running, Wakening, no_account, no_wake_up

_REFUSED_FOR = timedelta(minutes=2)  # several processes sweep by turns, and only one may refuse


class Level(IntEnum):
    """The exit codes of `status --check`, as monitoring systems read them."""

    WELL = 0
    NEEDS_A_PERSON = 1
    CRITICAL = 2


@dataclass(frozen=True)
class Attention:
    """Something that waits for a person. `command` does it, or shows more."""

    # Such as stop, database, process, account, sender, batch, folder or list.
    what: str
    name: str
    reason: str
    command: str
    level: Level = Level.NEEDS_A_PERSON


def level_of(found: Iterable[Attention]) -> Level:
    """The most urgent level; well if nothing needs a person."""
    return max((one.level for one in found), default=Level.WELL)


def of_work(running: Collection[Running], due: Collection[str], *, unwritable: str, starts: str) -> list[Attention]:
    """`due`: the accounts and senders with work that is due now. `starts`: the command that starts work. `unwritable`:
    why nothing can be written; empty: it can. A process that works may not be among `running` then: it cannot say that
    it runs.
    """
    if unwritable:
        return [Attention("database", "", unwritable, "onboard doctor", Level.CRITICAL)]
    if not due or any(one.kind in WORK for one in running):
        return []
    why = f"no process is working, and work is due for {', '.join(sorted(due))}"
    return [Attention("process", "", why, starts, Level.CRITICAL)]


def of_scheduler(running: Collection[Running], wakening: Wakening, *, now: datetime) -> list[Attention]:
    """Only workers need its wake-ups."""
    if not wakening.beat_is_missing(now) or all(one.kind != "worker" for one in running):
        return []
    none, slowly = no_wake_up(wakening), "the workers look for due work by themselves, every few seconds"
    if wakening.others_come(now):
        return [Attention("beat", "", f"{none}, but others come: `onboard beat` is missing; {slowly}", "onboard beat")]
    causes = "`onboard beat` does not run, or the broker cannot be reached, takes no messages or loses them"
    meanwhile = slowly if wakening.workers_sweep(now) else "no worker looks for due work, and new work waits"
    return [Attention("beat", "", f"{none}: {causes}; {meanwhile}", "onboard doctor")]


def of_bus(running: Collection[Running], queues: Collection[str], *, unwritable: str) -> list[Attention]:
    """`queues`: those that a sender of the configuration publishes to. How many events wait in them, only their broker
    knows. `unwritable`: as in `of_work`."""
    if unwritable or not queues or any(one.kind in TAKES_EVENTS for one in running):
        return []
    return [Attention("bus", "", f"no process takes events from {', '.join(sorted(queues))}: they wait", "onboard bus")]


def of_audit_log(refused_at: datetime | None, *, now: datetime) -> list[Attention]:
    """`refused_at`: when a process last refused the audit log's head. It says so every few seconds while it lasts."""
    if refused_at is None or refused_at <= now - _REFUSED_FOR:
        return []
    why = "the audit log is not sealed: its head is gone, not signed, or older than before; the workers' log says which"
    return [Attention("audit", "", why, "onboard audit verify")]


def of_missing_key(key_id: str, held: int) -> Attention:
    """`held`: how many held rows need the key."""
    why = f"{counted(held, 'held row needs', 'held rows need')} it, and it is not in [encryption]: put it back"
    return Attention("key", key_id, why, "onboard keys status")


def of_missing_account(name: str, rows: int, batch_id: int) -> Attention:
    """`rows` wait for an account that the configuration does not have, the first of them in this batch."""
    return Attention("account", name, f"{no_account(name, rows)}: put it back", f"onboard report {batch_id}")


def of_missing_channel(name: str, messages: int, batch_id: int) -> Attention:
    """`messages` wait for a channel that the configuration does not have, the first of them in this batch."""
    waiting = counted(messages, "message waits", "messages wait")
    why = f"{waiting} for this channel, which this configuration does not have: put it back"
    return Attention("sender", name, why, f"onboard report {batch_id}")


def of_stop(what: str, names: str, reason: str) -> Attention:
    """`names`: the accounts that share the stopped budget, or the sender."""
    first = names.partition(",")[0]
    if is_at_cap(reason):
        return Attention(what, names, f"stopped: {reason}; {way_out(first, reason)}", "onboard account list")
    return Attention(what, names, f"stopped: {reason}; correct the cause first", f"onboard account resume {first}")


def of_country(country: str, sent: int, refused: int) -> Attention:
    """`sent`: the texts of an hour. `refused`: how often one waited."""
    why = f"{counted(sent, 'text')} in an hour, the most that [sms] per_country allows, and {refused} wait: who asks?"
    return Attention("texts", country, why, "onboard report latest")


def of_refused_events(queue: str, number: int) -> Attention:
    why = f"{counted(number, 'refused event waits', 'refused events wait')} to be put back or dropped"
    return Attention("queue", queue, why, "onboard events dead list")


def of_webhooks(number: int) -> list[Attention]:
    """`number`: the webhooks to check."""
    if not number:
        return []
    why = f"{counted(number, 'webhook is', 'webhooks are')} to be checked by a person"
    return [Attention("webhook", "", why, "onboard events webhooks list")]
