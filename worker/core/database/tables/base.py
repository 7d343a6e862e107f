"""The base class of all tables. It maps Python types to column types."""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase

from worker.core.customers.customers import Channel, CustomerKind
from worker.core.customers.suppression import SuppressionReason
from worker.core.database.tables.types import NAMING, UtcDateTime, enum_column
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
