"""Test messages in the audit log, which is all that is stored of them; and whether one more may be sent."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.tables import Audit
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.rows.suppressions import suppressed

ACTION = "template send"
SPAN = timedelta(hours=1)


def begin(
    database: Database,
    keyring: Keyring,
    subject: str,
    address: tuple[str, str],
    *,
    reason: str,
    now: datetime,
    most: int | None = None,
) -> str:
    """Note a test message that is sent now; returns why it must not be sent, or "". `address`: its channel and whom it
    goes to. `most`: how many there may be in an hour, by all persons; None: any number."""
    with database.write() as connection:
        if suppressed(connection, keyring, [address]):
            return "messages to this address are suppressed: its owner may have asked for none"
        begun = sa.select(sa.func.count()).where(Audit.at > now - SPAN, Audit.action == ACTION)
        if most is not None and connection.execute(begun).scalar_one() >= most:
            return f"{most} test messages were sent in the last hour, which is the most; try later"
        note(connection, subject, now=now, reason=reason)
    return ""
