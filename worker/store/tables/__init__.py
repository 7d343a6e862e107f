"""The tables. A row with `due_at` says what must happen next and when: the database is the truth and the schedule.

Unique indexes of these tables keep three promises, whatever the code does: one leading job and one live session for
each customer and purpose, and one invitation for each session, channel and kind.
"""

from worker.store.tables.accounts import Budget, Permit, ReissueCount, TextCount
from worker.store.tables.base import Base
from worker.store.tables.customers import (
    AddressPlace,
    CustomerRow,
    Finished,
    PendingDetails,
    StableLink,
    Suppression,
    Tombstone,
)
from worker.store.tables.events import Inbox, Outbox, RefusedEvent, Webhook
from worker.store.tables.lists import (
    Batch,
    BatchCount,
    BatchCountChange,
    BatchPlan,
    BounceCount,
    DroppedFile,
    SkippedLine,
)
from worker.store.tables.operating import (
    AlertRow,
    Audit,
    AuditHead,
    LogIn,
    MetricCount,
    ProcessRow,
    RetiredKey,
    Standstill,
    Timer,
)
from worker.store.tables.work import Attempt, InvitationRow, Job, SessionRow

__all__ = [
    "AddressPlace",
    "AlertRow",
    "Attempt",
    "Audit",
    "AuditHead",
    "Base",
    "Batch",
    "BatchCount",
    "BatchCountChange",
    "BatchPlan",
    "BounceCount",
    "Budget",
    "CustomerRow",
    "DroppedFile",
    "Finished",
    "Inbox",
    "InvitationRow",
    "Job",
    "LogIn",
    "MetricCount",
    "Outbox",
    "PendingDetails",
    "Permit",
    "ProcessRow",
    "RefusedEvent",
    "ReissueCount",
    "RetiredKey",
    "SessionRow",
    "SkippedLine",
    "StableLink",
    "Standstill",
    "Suppression",
    "TextCount",
    "Timer",
    "Tombstone",
    "Webhook",
]
