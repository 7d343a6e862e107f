"""The base class of all tables, which maps Python types to column types; and where features add their tables."""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase

from worker.core.customers.customers import Channel, CustomerKind
from worker.core.customers.suppression import SuppressionReason
from worker.core.database.tables.types import NAMING, UtcDateTime, enum_column
from worker.core.features import Hook
from worker.core.model.incoming import EventKind, Outcome
from worker.core.model.sessions import ExpirySource
from worker.core.model.states import InvitationState, JobState, SessionState


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 -- read by SQLAlchemy when the classes are made
        datetime: UtcDateTime(),
        dict[str, Any]: sa.JSON(),
        list[dict[str, Any]]: sa.JSON(),
        bytes: sa.LargeBinary(),
        uuid.UUID: sa.Uuid(),
        JobState: enum_column(JobState),
        InvitationState: enum_column(InvitationState),
        SessionState: enum_column(SessionState),
        CustomerKind: enum_column(CustomerKind),
        Channel: enum_column(Channel, 8),
        ExpirySource: enum_column(ExpirySource),
        EventKind: enum_column(EventKind, 32),
        Outcome: enum_column(Outcome),
        SuppressionReason: enum_column(SuppressionReason),
    }


# Each is what the classes of a feature's tables have as their `metadata`. The feature `metrics` has one table.
TABLES = Hook("TABLES", sa.MetaData)


def all_tables() -> list[sa.Table]:
    """The core's, and those of the features that are here; one that rows of others refer to comes first."""
    return [table for one in (Base.metadata, *TABLES.offered()) for table in one.sorted_tables]


def all_metadata() -> sa.MetaData:
    """All tables in one, as what compares a schema with them needs it. Of a list, names of constraints are lost."""
    merged = sa.MetaData(naming_convention=NAMING)
    for table in all_tables():
        table.to_metadata(merged)
    return merged
