"""What accounts and senders may still do."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.store.tables.base import Base


class Budget(Base):
    """What an account, or a sender, may still do. One row for all accounts that the provider counts together."""

    __tablename__ = "budget"

    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    next_at: Mapped[datetime | None] = mapped_column(doc="The next free slot; NULL: none was ever reserved.")
    blocked_until: Mapped[datetime | None] = mapped_column(doc="Paused until then: it was told to wait.")
    pause_reason: Mapped[str] = mapped_column(sa.String(400))
    paused_at: Mapped[datetime | None] = mapped_column(doc="When the last pause began: older calls say nothing new.")
    pauses: Mapped[int] = mapped_column(doc="Pauses in a row without a success in between; doubles the next one.")
    probe_until: Mapped[datetime | None] = mapped_column(doc="A single call is out to find whether the pause is over.")
    stopped_at: Mapped[datetime | None]
    stop_reason: Mapped[str] = mapped_column(sa.String(400))
    credits_used: Mapped[int] = mapped_column(doc="Calls that cost a credit, or may have.")
    failures: Mapped[int] = mapped_column(doc="Calls in a row that failed, whatever their rows.")
    opened_at: Mapped[datetime | None] = mapped_column(
        doc="When its breaker opened, because so many failed in a row; NULL: it is closed."
    )
    pace_rate: Mapped[float | None] = mapped_column(
        sa.Double, doc="Calls per second that were found to be allowed; NULL: as set."
    )
    pace_good: Mapped[float | None] = mapped_column(sa.Double)
    pace_refused_from: Mapped[float | None] = mapped_column(sa.Double)
    pace_granted: Mapped[float] = mapped_column(sa.Double, doc="Calls of late, older ones fading.")
    pace_refused: Mapped[float] = mapped_column(sa.Double)
    pace_counted_at: Mapped[datetime | None]
    pace_refused_at: Mapped[datetime | None]
    pace_lowered_at: Mapped[datetime | None]
    pace_raised_at: Mapped[datetime | None]
    pace_trial_rate: Mapped[float | None] = mapped_column(sa.Double)
    pace_trial_share: Mapped[float] = mapped_column(sa.Double)
    pace_habit: Mapped[float] = mapped_column(sa.Double)
    pace_habit_at: Mapped[datetime | None]


class Permit(Base):
    """How many of an account's calls one dispatcher may have in flight, and until when it may without asking again."""

    __tablename__ = "permit"

    budget: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(160), primary_key=True, doc="The process and what it works on.")
    permits: Mapped[int]
    until: Mapped[datetime]


class ReissueCount(Base):
    """How many sessions an account has opened in a UTC day for customers whose last one ended unused."""

    __tablename__ = "reissue_count"

    account: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    count: Mapped[int]
