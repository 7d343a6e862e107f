"""Files in a folder that lists are taken from: what each waits for. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from onboarding_worker.core.model.states import BatchState

SETTLE = timedelta(seconds=10)  # a file that has not changed for so long has stopped growing


class FileState(StrEnum):
    WAITING = "waiting"  # until it has stopped growing, or can be read
    TAKEN = "taken"  # its import has begun
    IMPORTED = "imported"  # its batch is there, and NAME.errors.csv
    REFUSED = "refused"  # until it changes
    AWAY = "away"  # of the folder itself: it cannot be read


@dataclass(frozen=True)
class DroppedFile:
    """A file as it was last seen. `name` is empty for the folder itself. `reason` is for people."""

    folder: str
    name: str
    stamp: str
    seen_at: datetime
    state: FileState
    reason: str = ""
    digest: str = ""
    batch_id: int | None = None
    reported: str = ""
    tries: int = 0
    until: datetime | None = None
    owner: str = ""

    def is_due(self, *, now: datetime) -> bool:
        """Whether a process may take it: it has stopped growing, or the process that took it is gone."""
        if self.state not in (FileState.WAITING, FileState.TAKEN) or (self.until is not None and self.until > now):
            return False
        return self.seen_at + SETTLE <= now


def next_report(state: BatchState, reported: str) -> str:
    """The report that is to be written next to the list now: sent or finished; empty: none."""
    now = BatchState.FINISHED if state is BatchState.CANCELLED else state
    if now not in (BatchState.SENT, BatchState.FINISHED) or reported == BatchState.FINISHED or reported == now:
        return ""
    return now.value


def waits_for(file: DroppedFile) -> str:
    """What happens next with the file, for people."""
    match file.state:
        case FileState.WAITING if file.reason:
            return f"{file.reason}; it is tried again"
        case FileState.WAITING:
            return f"taken when it has not changed for {SETTLE.total_seconds():g} s"
        case FileState.TAKEN:
            return "it is being imported"
        case FileState.IMPORTED if file.reason:
            return f"batch {file.batch_id}; {file.reason}"
        case FileState.IMPORTED if file.reported == BatchState.FINISHED:
            return f"batch {file.batch_id} has ended; the file can be moved away"
        case FileState.IMPORTED if file.reported:
            return f"batch {file.batch_id} is sent; a last report follows when it has ended"
        case FileState.IMPORTED:
            return f"batch {file.batch_id} is imported; a report follows when it is sent"
        case _:
            return file.reason
