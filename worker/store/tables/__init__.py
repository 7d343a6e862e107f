"""The tables. A row with `due_at` says what must happen next and when: the database is the truth and the schedule.

Unique indexes of these tables keep three promises, whatever the code does: one leading job and one live session for
each customer and purpose, and one invitation for each session, channel and kind.
"""

from worker.store.tables.accounts import Budget, Permit, ReissueCount
from worker.store.tables.base import Base
from worker.store.tables.customers import AddressPlace, CustomerRow, Finished, Suppression, Tombstone
from worker.store.tables.events import Inbox, Outbox, RefusedEvent, Webhook
from worker.store.tables.lists import Batch, BatchCount, BatchCountChange, BounceCount, SkippedLine
from worker.store.tables.operating import Audit, AuditHead, ProcessRow, RetiredKey, Timer
from worker.store.tables.work import Attempt, InvitationRow, Job, SessionRow

__all__ = [
    "AddressPlace",
    "Attempt",
    "Audit",
    "AuditHead",
    "Base",
    "Batch",
    "BatchCount",
    "BatchCountChange",
    "BounceCount",
    "Budget",
    "CustomerRow",
    "Finished",
    "Inbox",
    "InvitationRow",
    "Job",
    "Outbox",
    "Permit",
    "ProcessRow",
    "RefusedEvent",
    "ReissueCount",
    "RetiredKey",
    "SessionRow",
    "SkippedLine",
    "Suppression",
    "Timer",
    "Tombstone",
    "Webhook",
]
