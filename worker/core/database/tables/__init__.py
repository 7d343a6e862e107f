"""The tables. A row with `due_at` says what must happen next and when: the database is the truth and the schedule.

Unique indexes of these tables keep four promises, whatever the code does: one leading job and one live session for
each customer and purpose, one invitation for each session, channel and kind, and no token of another customer.
"""

from onboarding_worker.core.database.tables.customers import (
    AddressPlace,
    CustomerRow,
    Finished,
    PendingDetails,
    StableLink,
    Suppression,
    Tombstone,
)
from onboarding_worker.core.database.tables.events import Inbox, Outbox, RefusedEvent, Webhook
from onboarding_worker.core.database.tables.lists import (
    Batch,
    BatchCount,
    BatchCountChange,
    BatchPlan,
    BounceCount,
    DroppedFile,
    SkippedLine,
    UploadedList,
    UploadedPart,
)
from onboarding_worker.core.database.tables.operating import (
    Audit,
    AuditHead,
    Budget,
    EmergencyStop,
    LogIn,
    Permit,
    ProcessRow,
    ReissueCount,
    RetiredKey,
    TextCount,
    Timer,
    UnreadCode,
)
from onboarding_worker.core.database.tables.types import Base
from onboarding_worker.core.database.tables.work import Attempt, InvitationRow, Job, SessionRow

__all__ = ["AddressPlace", "Attempt", "Audit", "AuditHead", "Base", "Batch", "BatchCount", "BatchCountChange"]
__all__ += ["BatchPlan", "BounceCount", "Budget", "CustomerRow", "DroppedFile", "EmergencyStop", "Finished"]
__all__ += ["Inbox", "InvitationRow", "Job", "LogIn", "Outbox", "PendingDetails", "Permit", "ProcessRow"]
__all__ += ["RefusedEvent", "ReissueCount", "RetiredKey", "SessionRow", "SkippedLine", "StableLink"]
__all__ += ["Suppression", "TextCount", "Timer", "Tombstone", "UnreadCode", "UploadedList", "UploadedPart"]
__all__ += ["Webhook"]
