"""Whose agreement to a list counts. It counts as the log-in of that time would: while the person's entry in the file of
users, or the section of the identity provider, is as it was. An identity provider is not asked again: what it has said
counts for as long as a log-in lasts, and until it says something else at the next one."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from onboarding_worker.features.dashboard.store.log_ins import LONGEST, newest_entry
from onboarding_worker.features.dashboard.users import OIDC, Person, Role
from onboarding_worker.features.uploads.uploaded import Uploads
from onboarding_worker.settings.model import Settings


@dataclass(frozen=True)
class Agreeing:
    settings: Settings

    @property
    def needed(self) -> int:
        """How many persons must agree."""
        return self.settings.section(Uploads).approvals

    def entry(self, person: Person) -> str:
        """What the log-in of a person counts for now."""
        # Imported here: the web server, which `run` does not need.
        from onboarding_worker.features.dashboard.log_in_ways import entry_of

        return entry_of(self.settings, person.name, person.role)

    def counts(self, connection: Connection, by: str, entry: str, *, since: datetime, now: datetime) -> bool:
        """Whether an agreement counts: of whom the audit log names so, by a log-in that counted for `entry`."""
        name = by.partition(" ")[0]
        if not entry or entry != self.entry(Person(name, Role.OPERATOR)):
            return False
        return not name.startswith(OIDC) or (now - since < LONGEST and newest_entry(connection, name) in (None, entry))
