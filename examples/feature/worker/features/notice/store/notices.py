"""Notices as rows."""

from datetime import datetime

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database
from onboarding_worker.features.notice.store.tables import Notice


def write(database: Database, text: str, *, now: datetime) -> None:
    with database.write() as connection:
        connection.execute(sa.insert(Notice).values(text=text, written_at=now))
        note(connection, "notice", now=now)


def newest(database: Database) -> str | None:
    with database.read() as connection:
        return connection.execute(sa.select(Notice.text).order_by(Notice.id.desc()).limit(1)).scalar_one_or_none()
