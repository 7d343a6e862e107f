"""An uploaded list: its states, and how it is read; and the section `[uploads]`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from onboarding_worker.features.dashboard.users import is_one_person
from onboarding_worker.settings.shape import FeatureSection
from onboarding_worker.settings.values import Section, setting

PATH = "/dashboard/lists"
MOST_BYTES = 128 << 20
MOST_ROWS = 2_000_000  # a compressed file could have a thousand times as many
PART_BYTES = 512 << 10
# What no one has decided about goes: it holds people's data.
KEPT = timedelta(days=7)
ARRIVES_WITHIN = timedelta(hours=1)


class UploadState(StrEnum):
    ARRIVING = "arriving"  # its bytes are coming
    ARRIVED = "arrived"  # it waits for its check, or is checked
    CHECKED = "checked"  # it waits for people
    APPROVED = "approved"  # it waits for its import, or is imported
    IMPORTED = "imported"
    REFUSED = "refused"  # it could not be checked or imported
    DISCARDED = "discarded"


OPEN = (UploadState.ARRIVED, UploadState.CHECKED, UploadState.REFUSED)  # a person may still decide
FOR_PROCESSES = (UploadState.ARRIVED, UploadState.APPROVED)
AGREED = (UploadState.CHECKED, UploadState.APPROVED, UploadState.IMPORTED)  # what a person agreed to stands
ENDED = (UploadState.IMPORTED, UploadState.DISCARDED)


class Upload(NamedTuple):
    """An uploaded list, without anything of the people in it."""

    id: int
    name: str
    digest: str
    size: int
    state: UploadState
    uploaded_by: str
    uploaded_at: datetime
    version: int
    agreed: Sequence[str]
    reason: str
    batch_id: int | None
    tries: int
    until: datetime | None
    owner: str

    def is_due(self, now: datetime) -> bool:
        """Whether a process should take it."""
        return self.state in FOR_PROCESSES and (not self.owner or self.until is None or self.until <= now)

    def has_agreed(self, actor: str) -> bool:
        return any(is_one_person(actor, one) for one in self.agreed)

    def is_over(self, now: datetime) -> bool:
        """Whether it is to be discarded, since no one has decided about it."""
        if self.state in ENDED:
            return False
        return now - self.uploaded_at > (ARRIVES_WITHIN if self.state is UploadState.ARRIVING else KEPT)


@dataclass(frozen=True)
class How:
    """How the list is read, as a person chose it. `mapping`: our column by the list's title. `ignore`: titles that are
    left out. `values`: by our column, our word by the list's, which is in small letters. `dates`, `sheet`: as the
    options of commands; "": by the configuration, and the only sheet."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    ignore: Sequence[str] = ()
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    dates: str = ""
    sheet: str = ""

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> "How":
        return cls(**{name: value for name, value in given.items() if name in cls.__dataclass_fields__})


class Uploads(Section):
    """Lists that are given in the browser."""

    approvals: Literal[1, 2] = setting(
        1, "How many persons must agree before a list of the browser is sent. 2: two different ones."
    )


SECTION = FeatureSection("uploads", Uploads)
