"""Checks again and again whether events can be taken: the database answers, and is at this release's schema."""

import asyncio
import logging
from collections.abc import Callable

import sqlalchemy as sa

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.web.turns import ANSWER_SECONDS, InThread

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
# What strangers may read: the driver's own message names the server and its user.
UNREACHABLE = "the database cannot be used"


class Readiness:
    """`why_not` names what is missing, without secrets; None when the database can be used. `why_not_taken` is the
    same, or why the database takes no writes; None when events can be taken."""

    def __init__(self, database: Database, *, prepare: Callable[[], None]) -> None:
        """`prepare` is called once, when the schema is first up to date."""
        self._database = database
        self._prepare_once = prepare
        self._prepared = False
        self._outage = Outage(log)
        self.why_not: str | None = "the database has not been checked yet"
        self._unwritable = ""
        self._looks_since: float | None = None

    @property
    def why_not_taken(self) -> str | None:
        since = self._looks_since
        if since is not None and monotonic() - since > ANSWER_SECONDS:
            return UNREACHABLE  # it hangs, and events are not answered in time either
        return self.why_not or self._unwritable or None

    def look(self) -> None:
        """Check now. Blocks for as long as a connection may take; raises no error that passes by itself."""
        why = ""
        self._looks_since = monotonic()
        try:
            self._unwritable = self._database.why_nothing_is_written()
            self.why_not = self._find_out()
            logged = self.why_not or self._unwritable
        except sa.exc.OperationalError as error:
            self.why_not = logged = UNREACHABLE
            why = reason(error)
        except SettingsError as error:
            self.why_not, logged = "the encryption keys do not decrypt what the database holds", str(error)
        finally:
            self._looks_since = None
        if logged:
            self._outage.lasts(f"taking no events: {logged}", monotonic(), why=why)
        else:
            self._outage.over("the database is ready: taking events")

    async def keep_looking(self, in_thread: InThread) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await in_thread(self.look)

    def _find_out(self) -> str | None:
        """What the operator must do; None if the database is ready, and prepared."""
        not_ready = schema.why_not_ready(self._database)
        if not_ready is None and not self._prepared:
            if self._unwritable:  # to prepare is to write
                return self._unwritable
            self._prepare_once()
            self._prepared = True
        return not_ready
