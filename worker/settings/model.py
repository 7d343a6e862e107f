"""The whole configuration, section by section. docs/configuration.md is held in step with it by a test."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from worker.domain.model.endings import RetryPolicy
from worker.settings.accounts import Account
from worker.settings.outside import Bus, Subscriber, Web
from worker.settings.routes import Route, check_column
from worker.settings.secrets import Secret
from worker.settings.sending import Email, Sms
from worker.settings.values import (
    BaseUrl,
    BrokerUrl,
    DatabaseUrl,
    Directory,
    Duration,
    EncryptionKey,
    Locale,
    Quiet,
    Section,
    Shown,
    Whole,
    ZoneName,
)


class Database(Section):
    """Where everything is kept."""

    url: DatabaseUrl = Field(
        "sqlite:///onboarding.db",
        repr=False,
        validate_default=True,  # so that the default, too, lies beside the configuration
        description="sqlite:///FILE (relative to this configuration) or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE."
        " With a password: from the environment or a file.",
    )


class Broker(Section):
    """What rings the workers."""

    url: BrokerUrl = Field(
        "memory://",
        repr=False,
        description="memory:// (one process), amqp(s)://… or redis(s)://…."
        " With a password: from the environment or a file.",
    )


class Encryption(Section):
    """Keys that personal data and tokens are encrypted with."""

    keys: tuple[EncryptionKey, ...] = Field(
        min_length=1,
        description="The first encrypts, all decrypt; 32 bytes in base64 each. `onboard keys new` prints one.",
        json_schema_extra={"default": '`[{ env = "ONBOARDING_KEY" }]`'},
    )


class Worker(Section):
    """How workers share the work."""

    lease: Duration = Field(
        timedelta(seconds=60),
        ge=timedelta(milliseconds=500),
        le=timedelta(hours=1),
        description="How long rows that a worker has taken are its own; after a crash they wait that long.",
    )


def _a_minute(span: timedelta) -> timedelta:
    # In words of ours: of what is within a list the bound itself is not told (`problems.explain`).
    if span < timedelta(minutes=1):
        raise ValueError('expected at least "1 minute"')
    return span


class Invitations(Section):
    """What is sent to customers, and when."""

    templates: Directory | None = Field(
        None,
        description="A directory of `<name>/<locale>/{subject.txt,body.html,body.txt,sms.txt}`.",
        json_schema_extra={"default": "built in"},
    )
    locale: Locale = Field("en", description="The language for rows that name none, or one without a template.")
    quiet_hours: Annotated[dict[Literal["email", "sms"], Quiet], Shown("table of hours by channel")] = Field(
        default_factory=dict,
        description='When nothing is sent, in the recipient\'s own time zone: { sms = "21:00-08:00" }. Reminders too.',
        json_schema_extra={"default": "none"},
    )
    reminders: tuple[Annotated[Duration, AfterValidator(_a_minute)], ...] = Field(
        (), description="When customers who have not finished are reminded, counted from the invitation."
    )
    fallback: Literal["email", "sms"] | None = Field(
        None,
        description="The channel to try after a bounce, where the row has it.",
        json_schema_extra={"default": "none"},
    )
    messages_per_customer: Whole = Field(
        6, ge=1, le=100, description="Never more messages to one customer, all channels together."
    )
    timezone: ZoneName = Field(
        "UTC", description="Whose quiet hours are kept for a customer of whom neither zone, phone nor country is known."
    )
    pause_over: Whole = Field(
        10,
        ge=1,
        le=100,
        description="Percent of a batch's messages, refused for their address or returned, over which it pauses itself;"
        " 100: never.",
    )
    pause_from: Whole = Field(
        50, ge=1, le=1_000_000, description="Fewer messages than this say too little to pause a batch."
    )


class Reissue(Section):
    """New links for those that expired unused."""

    most: Whole = Field(3, ge=0, le=100, description="Most new sessions for one customer and purpose.")
    spacing: Duration = Field(
        timedelta(days=1), ge=timedelta(0), description="Least time between two sessions of one customer."
    )
    per_day: Whole = Field(
        10_000,
        ge=0,
        le=10_000_000,
        description="Most sessions that each account opens in a day (UTC) for customers whose last one ended unused.",
    )


class Links(Section):
    """The link that a message carries."""

    mode: Literal["provider", "stable"] = Field(
        "provider", description="The provider's link, or our own, which survives reissues."
    )
    base_url: BaseUrl | None = Field(
        None,
        description="Where `onboard web` is reached from outside: for stable links, and for Twilio to tell of texts.",
    )


def _outlives_unknown_outcomes(kept: timedelta) -> timedelta:
    # As long as a call whose outcome nobody knows may have left a session behind (store.leading).
    if kept < timedelta(days=30):
        raise ValueError("expected at least 30 days")
    return kept


class Retention(Section):
    """How long personal data, and batches, stay."""

    personal: Duration = Field(
        timedelta(days=90), ge=timedelta(hours=1), description="After the job's end, personal fields are erased."
    )
    batches: Annotated[Duration, AfterValidator(_outlives_unknown_outcomes)] | None = Field(
        None,
        description="After the last of its jobs has ended, a batch's rows are removed; its totals stay."
        " At least 30 days.",
        json_schema_extra={"default": "kept"},
    )


class Retry(Section):
    """Bounds of retrying, for rows and, where a provider names no time, for pauses of accounts."""

    attempts: Whole = Field(
        8, ge=1, le=100, description="Most failed attempts before a row has failed. Waits do not count."
    )
    first: Duration = Field(
        timedelta(seconds=1), ge=timedelta(milliseconds=1), description="The first wait; it doubles."
    )
    most: Duration = Field(timedelta(minutes=10), le=timedelta(days=1), description="The longest wait.")

    @property
    def policy(self) -> RetryPolicy:
        return RetryPolicy(attempts=self.attempts, first=self.first, most=self.most)


def _columns(given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        raise ValueError("expected a table of THEIRS = OURS")
    for theirs, ours in given.items():
        try:
            check_column(ours)
        except ValueError as error:
            raise ValueError(f"`{theirs}`: {error}") from None
    if len(set(given.values())) < len(given):
        raise ValueError("two of their columns map to one of ours")
    return {str(theirs): str(ours) for theirs, ours in given.items()}


class Import(Section):
    """How lists are read."""

    columns: Annotated[dict[str, str], BeforeValidator(_columns), Shown("table")] = Field(
        default_factory=dict, description="A list's own column names to ours: THEIRS = OURS."
    )


class Settings(Section):
    """Everything in onboarding.toml, checked. `path` is that file, absolute."""

    path: Path = Field(json_schema_extra={"resolved": True})
    warnings: tuple[str, ...] = Field((), json_schema_extra={"resolved": True})
    database: Database
    broker: Broker
    encryption: Encryption
    worker: Worker
    accounts: dict[str, Account]
    routes: tuple[Route, ...]
    email: Email | None = None
    sms: Sms | None = None
    invitations: Invitations
    reissue: Reissue
    links: Links
    bus: Bus | None = None
    subscribers: dict[str, Subscriber] = Field(default_factory=dict)
    web: Web
    retention: Retention
    retry: Retry
    import_: Import = Field(alias="import")

    @property
    def directory(self) -> Path:
        """Where relative paths of the configuration start."""
        return self.path.parent


__all__ = ["Account", "Email", "Route", "Secret", "Settings", "Sms"]
