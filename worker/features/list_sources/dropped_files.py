"""Files in a folder that lists are taken from: which are lists, and what each waits for. Pure."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.core.model.states import BatchState

ERRORS, REPORT = ".errors.csv", ".report.csv"
# Names of files that another program is still writing, or keeps for itself.
_UNFINISHED = re.compile(
    r"^[.~]|~$|\.(part|partial|tmp|temp|crdownload|download|filepart|swp|lock|bak)$", re.IGNORECASE
)
# What we leave behind when we are killed while we write next to a list.
_LEFT = re.compile(r"^\.onboard-[0-9a-f]{32}\.part$")
SETTLE = timedelta(seconds=10)  # a file that has not changed for so long has stopped growing
LONGEST_NAME = 244  # bytes, of a list: NAME.report.csv has to be a name, too
TOO_LONG = f"its name has more than {LONGEST_NAME} bytes: no report could be named after it"
UNSEEN = "its name has a character that cannot be seen, such as a space of another width: rename it"
_SHOWN_NAME = 200


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


def is_list(name: str) -> bool:
    """Whether a file of this name is taken: it is neither hidden, nor unfinished, nor written by us."""
    return not _UNFINISHED.search(name) and not name.endswith((ERRORS, REPORT))


def is_left_over(name: str) -> bool:
    """Whether a killed process of ours may have left this file: it is removed after a while."""
    return _LEFT.match(name) is not None


def shortened(name: str) -> str:
    """The name of a file that is not taken, as it is kept and shown: a folder of S3 may have longer ones than a file
    system, and a name may have control characters. No other file has the same."""
    if len(name) <= _SHOWN_NAME and name.isprintable():
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{plain(name[:_SHOWN_NAME], most=_SHOWN_NAME)}…{digest}"


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
