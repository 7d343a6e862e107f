"""Checks and imports uploaded lists, in the processes that work: one list at a time, in a thread. The database decides
which process takes a list. After a kill another one takes it: a check begins anew, and an import goes on, since the
bytes of a list name its batch."""

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from tempfile import TemporaryFile
from typing import BinaryIO

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import Act
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.features.uploads.agreeing import Agreeing
from onboarding_worker.features.uploads.store.uploads import Uploads, undecided
from onboarding_worker.features.uploads.uploaded import How, Upload, UploadState
from onboarding_worker.lists.importing.list_import import CutOff, ImportChoices, import_list
from onboarding_worker.lists.lines import ListRefused
from onboarding_worker.lists.store.batches import Batches
from onboarding_worker.lists.store.taken import MOST_TRIES, Ending, lease_of
from onboarding_worker.providers.row_rights import UPLOADS
from onboarding_worker.wiring.background import Looks, Ticks, Work
from onboarding_worker.wiring.container import Parts

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
END_SECONDS = 30.0  # a chunk of an import is through by then
TIDY_SECONDS = 600.0
NEVER_AGAIN = f"it was begun {MOST_TRIES} times and never ended: try `onboard check` with the file"


@dataclass
class Looking:
    """What one process does at a look. `stopping`: whether it ends."""

    parts: Parts
    owner: str
    lease: timedelta
    stopping: Callable[[], bool] = lambda: False
    _tidied: Ticks = field(default_factory=lambda: Ticks(TIDY_SECONDS))

    def look(self) -> None:
        """Check and import what waits. Raises sqlalchemy.exc.OperationalError while the database cannot be used."""
        parts, now = self.parts, self.parts.database_clock()
        uploads = Uploads(parts.database, parts.keyring)
        found = undecided(parts.database)
        if self._tidied.begin(monotonic()):
            tidying = Uploads(parts.database.acting(Act("uploads", "discard")), parts.keyring)
            for one in found:
                if one.is_over(now):
                    tidying.discard(one.id, now=now, why="no one decided about it in time")
        agreeing = Agreeing(parts.settings)
        for one in found:
            if self.stopping():
                return
            still: Upload | None = one
            if one.agreed or one.state is UploadState.APPROVED:  # who agreed may not be there any more
                still = uploads.agree(one.id, one.version, agreeing, by=None, now=now)
            if still is not None and still.is_due(now):
                self._take(uploads, still)

    def _take(self, uploads: Uploads, one: Upload) -> None:
        clock, now = self.parts.database_clock, self.parts.database_clock()
        if not uploads.take(one, owner=self.owner, until=lease_of(self.lease, now), now=now):
            return
        if one.tries >= MOST_TRIES:
            batch = self.parts.batches.of_content(one.digest) if one.state is UploadState.APPROVED else None
            begun = f"; its rows so far are batch {batch.id}" if batch is not None else ""
            return uploads.refuse(one, owner=self.owner, why=f"{NEVER_AGAIN}{begun}")
        try:
            with TemporaryFile("w+b") as file:
                digest = hashlib.sha256()
                for content in uploads.content(one.id):
                    file.write(content)
                    digest.update(content)
                if digest.hexdigest() != one.digest:
                    raise ListRefused(["its bytes are not those that came: upload it again"])
                file.seek(0)
                how, _ = uploads.how_and_found(one.id)
                keep = uploads.keeping(one, owner=self.owner, lease=self.lease, clock=clock, stopping=self.stopping)
                if one.state is UploadState.ARRIVED:
                    # Imported here: a list is seldom checked, and each `run` loads this module.
                    from onboarding_worker.features.uploads.check import check

                    found, problems = check(self.parts, file, how, step=keep)
                    uploads.checked(one, owner=self.owner, how=how, found=found, problems=problems)
                else:
                    self._import(uploads, one, file, how, keep)
        except (Ending, CutOff):
            uploads.release(one, owner=self.owner)
        except sa.exc.OperationalError:
            raise
        except ListRefused as error:
            uploads.refuse(one, owner=self.owner, why="; ".join(error.reasons))
        except Exception as error:
            # Its lease ends, and it is tried again; one that ends every process is refused after some tries.
            log.error("uploaded list %d: its work ended with %s", one.id, type(error).__name__)

    def _import(self, uploads: Uploads, one: Upload, file: BinaryIO, how: How, keep: Callable[[], None]) -> None:
        from onboarding_worker.features.uploads.check import options_for, rule_of

        acting = self.parts.database.acting(Act(" and ".join(one.agreed), "import"))
        imported = import_list(
            self.parts.intake.of(UPLOADS),
            Batches(acting, self.parts.keyring, wide=self.parts.batches.wide),
            file,
            options_for(self.parts, how),
            name=one.name,
            choices=ImportChoices(rule=rule_of(self.parts)),
            progress=lambda _rows: keep(),
        )
        batch = imported.batch
        if batch.cancelled_at is not None or batch.purged_at is not None:
            ended = "cancelled" if batch.cancelled_at is not None else "purged"
            again = "`onboard import LIST --again` imports it anew"
            return uploads.refuse(one, owner=self.owner, why=f"batch {batch.id} of this list was {ended}; {again}")
        now = self.parts.clock()
        Uploads(acting, self.parts.keyring).imported(one, owner=self.owner, batch_id=batch.id, now=now)
        log.info("uploaded list %d is batch %d", one.id, batch.id, extra={"batch": batch.id})


def _opened(parts: Parts) -> Looks:
    ends = threading.Event()
    looking = Looking(parts, owner=parts.owner[:80], lease=parts.settings.worker.lease, stopping=ends.is_set)

    def look() -> None:
        try:
            looking.look()
        except sa.exc.OperationalError:
            return  # the work logs it
        except Exception as error:
            log.error("looking for uploaded lists ended with %s", type(error).__name__)

    return Looks("uploads", look, LOOK_SECONDS, ends, END_SECONDS)


WORK = Work(_opened, in_run=False)
