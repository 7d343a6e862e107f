"""What uploaded lists wait for, as `status`, the dashboard and alerts say it."""

from collections.abc import Mapping
from datetime import datetime

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.rules.budgets import BudgetState
from onboarding_worker.features.uploads.store.uploads import undecided
from onboarding_worker.features.uploads.uploaded import PATH, Upload, Uploads, UploadState
from onboarding_worker.reporting.standings import Standing, Standings
from onboarding_worker.reporting.waits import Wait
from onboarding_worker.settings.model import Settings


def _standing(settings: Settings, database: Database, _states: Mapping[str, BudgetState], now: datetime) -> Standing:
    needed, found = settings.section(Uploads).approvals, undecided(database)
    return Standing(
        [],
        {},
        [
            Wait("upload", f"{one.id} ({one.name})", why, f"{PATH}/{one.id}", since=one.uploaded_at)
            for one in found
            if (why := _why(one, needed))
        ],
        # The lease of a process that was killed ends, and another one takes the list.
        any(one.state is UploadState.APPROVED and one.until is not None for one in found),
    )


def _why(one: Upload, needed: int) -> str:
    """What a person must do about the list; "": nothing."""
    match one.state:
        case UploadState.REFUSED:
            return f"it was refused: {one.reason}; read it in another way, or discard it"
        case UploadState.CHECKED:
            more = max(needed - len(one.agreed), 1)
            who = counted(more, "person", "persons")
            return f"it waits for {who}: to agree that it is sent, to read it in another way, or to discard it"
    return ""


STANDINGS = Standings(_standing)
