"""The budgets of accounts and senders, the permits of dispatchers, and the count of reissues."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.core.database.tables.base import Base


class Budget(Base):
    """What an account or a sender may still do. Accounts that the provider counts together share one row."""

    __tablename__ = "budget"

    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    next_at: Mapped[datetime | None] = mapped_column(doc="From here on all slots are free; NULL: none was reserved.")
    left_at: Mapped[datetime | None] = mapped_column(
        doc="From here to `next_at` every other slot is free: it was left out for other workers. NULL: none is."
    )
    blocked_until: Mapped[datetime | None] = mapped_column(doc="End of the pause: the budget was rate-limited.")
    pause_reason: Mapped[str] = mapped_column(sa.String(400))
    paused_at: Mapped[datetime | None] = mapped_column(doc="When the last pause began; older calls change nothing.")
    pauses: Mapped[int] = mapped_column(doc="Pauses in a row without a success; each doubles the next pause.")
    probe_until: Mapped[datetime | None] = mapped_column(
        doc="Until then a single call is in flight that finds out whether the pause is over."
    )
    stopped_at: Mapped[datetime | None]
    stop_reason: Mapped[str] = mapped_column(sa.String(400))
    asks_again_at: Mapped[datetime | None] = mapped_column(
        doc="When one call finds out whether the stop is over (refused credentials); NULL: a person must act."
    )
    credits_used: Mapped[int] = mapped_column(doc="Calls that cost a credit, or may have cost one.")
    failures: Mapped[int] = mapped_column(doc="Failed calls in a row, over all rows.")
    opened_at: Mapped[datetime | None] = mapped_column(
        doc="When the breaker opened, after too many failures in a row; NULL: the breaker is closed."
    )
    unproven: Mapped[bool] = mapped_column(
        doc="The sender did not answer, or was not tried since a start: no session is opened for its messages."
    )
    ramp_from: Mapped[datetime | None] = mapped_column(
        doc="When the first message left under a ramp ([email] ramp), which counts its days from then; NULL: none has."
    )
    pace_rate: Mapped[float | None] = mapped_column(
        sa.Double, doc="Calls per second that the provider was found to allow; NULL: as configured."
    )
    pace_good: Mapped[float | None] = mapped_column(sa.Double)
    pace_refused_from: Mapped[float | None] = mapped_column(sa.Double)
    pace_granted: Mapped[float] = mapped_column(sa.Double, doc="Recent calls; older calls weigh less.")
    pace_refused: Mapped[float] = mapped_column(sa.Double)
    pace_counted_at: Mapped[datetime | None]
    pace_refused_at: Mapped[datetime | None]
    pace_lowered_at: Mapped[datetime | None]
    pace_raised_at: Mapped[datetime | None]
    pace_trial_rate: Mapped[float | None] = mapped_column(sa.Double)
    pace_trial_share: Mapped[float] = mapped_column(sa.Double)
    pace_habit: Mapped[float] = mapped_column(sa.Double)
    pace_habit_at: Mapped[datetime | None]
    measured_calls: Mapped[float] = mapped_column(sa.Double, doc="Calls that ended while rows waited, for forecasts.")
    measured_seconds: Mapped[float] = mapped_column(sa.Double, doc="The busy time of these calls; it fades.")
    measured_until: Mapped[datetime | None]


class Permit(Base):
    """How many calls in flight one dispatcher may have on one budget, and until when it need not renew this."""

    __tablename__ = "permit"

    budget: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(160), primary_key=True, doc="The process and its account.")
    permits: Mapped[int]
    until: Mapped[datetime]


class ReissueCount(Base):
    """How many sessions an account opened on a UTC day for customers whose previous session ended unused."""

    __tablename__ = "reissue_count"

    account: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    count: Mapped[int]


class TextCount(Base):
    """How many texts left to a country in an hour, and how often one had to wait because of the cap."""

    __tablename__ = "text_count"

    country: Mapped[str] = mapped_column(sa.String(8), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    count: Mapped[int]
    refused: Mapped[int]
