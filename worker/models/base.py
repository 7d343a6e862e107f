"""What all tables have in common: how their columns' types are written."""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase

from worker.columns import NAMING, UtcDateTime, words
from worker.customers import Channel, CustomerKind
from worker.events import EventKind, Outcome
from worker.sessions import ExpirySource
from worker.states import InvitationState, JobState, SessionState


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 -- read by SQLAlchemy when the classes are made
        datetime: UtcDateTime(),
        dict[str, Any]: sa.JSON(),
        list[dict[str, Any]]: sa.JSON(),
        bytes: sa.LargeBinary(),
        uuid.UUID: sa.Uuid(),
        JobState: words(JobState),
        InvitationState: words(InvitationState),
        SessionState: words(SessionState),
        CustomerKind: words(CustomerKind),
        Channel: words(Channel, 8),
        ExpirySource: words(ExpirySource),
        EventKind: words(EventKind, 32),
        Outcome: words(Outcome),
    }
