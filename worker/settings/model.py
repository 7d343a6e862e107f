"""The whole configuration, section by section. A test checks that docs/reference/configuration.md has the same keys."""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import unquote

from pydantic import BeforeValidator, Field, create_model

from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.channels import CHANNELS, ChannelName
from onboarding_worker.core.model.endings import RetryPolicy
from onboarding_worker.core.rules.contact import AddressCap
from onboarding_worker.core.rules.quiet_hours import QuietHours
from onboarding_worker.lists.own_columns import PREFIX, is_own
from onboarding_worker.settings.accounts import Account
from onboarding_worker.settings.outside import Bus, Web
from onboarding_worker.settings.queue_names import QueuePrefix
from onboarding_worker.settings.rights import Rights
from onboarding_worker.settings.routes import Route, ours_by_theirs, own_columns, words_by_column
from onboarding_worker.settings.sending import BrandSection, Email, NamedBrand, Sms, WhatsApp
from onboarding_worker.settings.shape import SECTIONS
from onboarding_worker.settings.tls import PresentsCertificate
from onboarding_worker.settings.values import (
    BrokerUrl,
    Country,
    DatabaseUrl,
    DatesForm,
    Directory,
    Duration,
    EncryptionKey,
    EncryptionKeys,
    Flag,
    Locale,
    Name,
    PerAddress,
    Quiet,
    RefusalCode,
    Section,
    Shown,
    Text,
    Whole,
    ZoneName,
    only,
    setting,
)

OfFeature = TypeVar("OfFeature", bound=Section)


class Database(PresentsCertificate):
    """Where everything is stored."""

    url: DatabaseUrl = setting(
        "sqlite:///onboarding.db",
        "sqlite:///FILE (relative to this configuration) or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE.",
        repr=False,
        validate_default=True,  # so that the default file is in the configuration's directory too
    )

    @property
    def sqlite_file(self) -> Path | None:
        """SQLite's file, behind any link; None for another database."""
        if not self.url.startswith("sqlite:///"):
            return None
        return Path(unquote(self.url.removeprefix("sqlite:///").partition("?")[0])).resolve()


class Broker(PresentsCertificate):
    """What carries wake-ups to the workers."""

    url: BrokerUrl = setting("memory://", "memory:// (one process), amqp(s)://… or redis(s)://….", repr=False)
    prefix: QueuePrefix = setting(
        "onboarding.",
        "What the names of the workers' queues and tasks begin with, so that other applications can share the broker;"
        " the same for all processes.",
    )

    @property
    def wakes_workers(self) -> bool:
        """Whether workers are meant; else one process does all work."""
        return self.lacks("url") or not self.url.startswith("memory")  # what is not to be known here is no default


class Encryption(Section):
    """The keys that encrypt personal data and tokens."""

    keys: tuple[EncryptionKey, ...] = setting(
        ...,
        "The first encrypts, all decrypt; 32 bytes in base64 each. `onboard keys new` prints one.",
        '`[{ env = "ONBOARDING_KEY" }]`',
        min_length=1,
    )
    digest_key: EncryptionKeys = setting(
        (),
        "For the hashes that recognise addresses, tokens, webhooks and events. The first hashes, all recognise; 32"
        " bytes in base64 each.",
        "derived from each of `keys`",
    )

    def keyring(self) -> Keyring:
        """Raises SettingsError for a key that is missing."""
        return Keyring([key.reveal() for key in self.keys], [key.reveal() for key in self.digest_key])


class Worker(Section):
    """How workers share the work."""

    lease: Duration = setting(
        timedelta(seconds=60),
        "How long a row is reserved for the worker that claimed it; after a crash the row waits that long.",
        ge=timedelta(milliseconds=500),
        le=timedelta(hours=1),
    )


# Our own message: pydantic does not report the limit of a list's item (`load`).
_A_MINUTE = only(lambda span: span >= timedelta(minutes=1), 'at least "1 minute"')


class Invitations(Section):
    """What is sent to customers, and when."""

    templates: Directory | None = setting(
        None, "A directory of `<name>/<locale>/{subject.txt,body.html,body.txt,sms.txt,whatsapp.txt}`.", "built in"
    )
    locale: Locale = setting("en", "The language for rows that name no language, or one without a template.")
    greeting: Flag = setting(True, "false: no message has a customer's or a company's name.")
    quiet_hours: Annotated[dict[ChannelName, Quiet], Shown("table of hours by channel")] = setting(
        {},
        'When no message leaves, in the recipient\'s time zone: { sms = "21:00-08:00" }. WhatsApp without its own has'
        " those of texts.",
    )
    fallback: Literal["email", "sms"] | None = setting(
        None, "The channel to try after a bounce, if the row has an address for it."
    )
    messages_per_customer: Whole = setting(
        6,
        "The most messages to one customer, over all channels. Hand-overs that may have arrived or were lost count.",
        ge=1,
        le=100,
    )
    messages_per_address: PerAddress = setting(
        AddressCap(6, timedelta(days=7)),
        'The most messages to one address in any such time, over all customers, lists and events; "off". Above it a'
        " list's row waits, without a session.",
    )
    timezone: ZoneName = setting(
        "UTC",
        "For quiet hours and the times in messages, where a customer has no known time zone, phone or country. For"
        " those times also where the country has several clocks.",
    )
    pause_over: Whole = setting(
        10,
        "A batch pauses itself when more than this percentage of its messages bounces or is refused for the address;"
        " 100: never.",
        ge=1,
        le=100,
    )
    pause_from: Whole = setting(50, "The least number of messages before a batch pauses itself.", ge=1, le=1_000_000)

    @property
    def quiet(self) -> dict[str, QuietHours]:
        """The quiet hours of each channel that has some. One that has none of its own has those of the channel with
        which it shares its addresses: both ring the same phone."""
        own: dict[str, QuietHours] = {name: hours for name, hours in self.quiet_hours.items()}
        shared = {name: own[facts.listed_as] for name, facts in CHANNELS.items() if facts.listed_as in own}
        return {**shared, **own}


class LadderStep(Section):
    """What is tried next for customers who have not finished. A step is a reminder by another channel, or with other
    words; it repeats the customer's link."""

    after: Duration = setting(..., "Counted from the invitation.", ge=timedelta(minutes=1))
    channel: ChannelName | None = setting(None, "Its channel, if the row has an address for it.", "the invitation's")
    template: Text | None = setting(None, "Its template.", "the row's")


class FollowUp(Section):
    """What follows an invitation: reminders, and new links for customers whose link expired unused."""

    reminders: tuple[Annotated[Duration, _A_MINUTE], ...] = setting(
        (), "When customers who have not finished are reminded, counted from the invitation."
    )
    most: Whole = setting(3, "The most new sessions for one customer and purpose.", ge=0, le=100)
    spacing: Duration = setting(
        timedelta(days=1), "The least time between two sessions of one customer.", ge=timedelta(0)
    )
    ahead: Duration = setting(
        timedelta(0),
        "How long before its end the link of a customer who has not started is replaced, by iDenfy KYB and FrankieOne"
        " v1 and hosted; by other providers only after it.",
        "after its end",
        ge=timedelta(0),
        le=timedelta(days=30),
    )
    per_day: Whole = setting(
        10_000,
        "The most sessions in a day (UTC) that each account opens in place of those that ended unused.",
        ge=0,
        le=10_000_000,
    )
    corrected_address: Literal["wait", "same-link"] = setting(
        "wait",
        "What a corrected address gets where the account gives no other session while the old link opens: `wait` for"
        " its end, or the `same-link` at once.",
    )
    ladder: tuple[LadderStep, ...] = ()


class RetryAfterDenial(Section):
    """Which customers whom a provider has refused are asked once more."""

    reasons: tuple[RefusalCode, ...] = setting(
        (),
        'The provider\'s codes of such refusals, such as `["DOC_TOO_BLURRY"]` ([all'
        " codes](../reference/refused.md#the-codes)).",
        "none",
    )


class Retention(Section):
    """How long personal data, batches and the audit log are kept."""

    personal: Duration = setting(
        timedelta(days=90), "Personal fields are erased this long after the job's end.", ge=timedelta(hours=1)
    )
    batches: Duration | None = setting(
        None,
        "A batch's rows are removed this long after its last job's end; its totals stay. At least 30 days.",
        "kept",
        # A call with an unknown outcome may have left a session behind for as long (lists/store/admission.py).
        ge=timedelta(days=30),
    )
    audit: Duration | None = setting(
        None,
        "Entries of the audit log are removed after this time; the log names that step. At least 90 days.",
        "kept",
        ge=timedelta(days=90),
    )


class Privacy(Section):
    """What keeps the promises to customers after a restore."""

    journal: Text | None = setting(
        None,
        "A file that notes, by keyed hashes, who is erased and which addresses are suppressed"
        " ([backups](../how-to/backup.md)).",
    )


class Retry(Section):
    """Limits of retries: for rows, and for pauses of accounts where the provider names no time."""

    attempts: Whole = setting(
        8, "The most failed attempts of a row; then it has failed. Waits do not count.", ge=1, le=100
    )
    first: Duration = setting(
        timedelta(seconds=1),
        "The longest first wait; each next one is twice as long. A row's wait is drawn below it.",
        ge=timedelta(milliseconds=1),
    )
    most: Duration = setting(timedelta(minutes=10), "The longest wait.", le=timedelta(days=1))

    @property
    def policy(self) -> RetryPolicy:
        return RetryPolicy(attempts=self.attempts, first=self.first, most=self.most)


class Import(Section):
    """How lists are read."""

    columns: Annotated[dict[str, str], BeforeValidator(ours_by_theirs), Shown("table")] = setting(
        {}, "The list's column names and ours: THEIRS = OURS."
    )
    values: Annotated[dict[str, dict[str, str]], BeforeValidator(words_by_column), Shown("table")] = setting(
        {}, 'The words of lists and events in a column of ours: COLUMN = { THEIRS = OURS }, "" for none.'
    )
    message_columns: Annotated[tuple[str, ...], BeforeValidator(own_columns)] = setting(
        (),
        "Columns of the list for messages: [`message.NAME`](../reference/templates.md#columns-of-your-list) in"
        " templates.",
    )
    ignore: tuple[Text, ...] = setting((), "Columns of the list to leave out.")
    country: Country | None = setting(None, "The country of rows that name none.")
    locale: Locale | None = setting(None, "The language of rows that name none.", "invitations.locale")
    dates: DatesForm | None = setting(
        None,
        "The form of the list's dates, such as `DD.MM.YYYY` or `MM/DD/YYYY`. YYYY-MM-DD is always read.",
        "YYYY-MM-DD",
    )
    known: Literal["skip", "refresh", "invite"] = setting(
        "refresh", "[What becomes of known customers](../reference/known-customers.md#the-same-customer-again)."
    )

    @property
    def mapping(self) -> dict[str, str]:
        """Our names by the list's own, with those of the columns for messages."""
        return {name: PREFIX + name for name in self.message_columns} | self.columns

    @property
    def for_messages(self) -> set[str]:
        """The columns for messages, by their names in templates."""
        return {ours.removeprefix(PREFIX) for ours in self.mapping.values() if is_own(ours)}

    @property
    def defaults(self) -> dict[str, str]:
        """What a row's cell is where the row has none, by our column."""
        return {name: value for name in ("country", "locale") if (value := getattr(self, name)) is not None}


class Settings(Section):
    """Everything in onboarding.toml, checked. `path` is that file, absolute."""

    path: Path = Field(Path(), json_schema_extra={"resolved": True})
    warnings: tuple[str, ...] = Field((), json_schema_extra={"resolved": True})
    # The keys whose values came from elsewhere, each with where from: "the environment variable SMTP_URL".
    sources: Mapping[str, str] = Field({}, json_schema_extra={"resolved": True})
    database: Database
    broker: Broker
    encryption: Encryption
    worker: Worker
    accounts: dict[Name, Account]
    routes: tuple[Route, ...]
    rights: Rights
    email: Email | None = None
    sms: Sms | None = None
    whatsapp: WhatsApp | None = None
    invitations: Invitations
    brand: BrandSection | None = None
    follow_up: FollowUp
    retry_after_denial: RetryAfterDenial
    bus: Bus | None = None
    web: Web
    retention: Retention
    privacy: Privacy
    retry: Retry
    import_: Import = Field(alias="import")

    @property
    def brands(self) -> Mapping[str, NamedBrand]:
        """The tables [brand.NAME]."""
        return (self.brand.model_extra or {}) if self.brand is not None else {}

    @property
    def sending(self) -> Mapping[str, Email | Sms]:
        """The sections of the channels that messages can go by, in the order of CHANNELS."""
        sections = {name: self.email if name == "email" else self.texting(name) for name in CHANNELS}
        return {name: section for name, section in sections.items() if section is not None}

    def texting(self, channel: str) -> Sms | None:
        """The account and the sender of a channel to phones; None: it has none, or is not one."""
        if channel == "whatsapp" and self.sms is not None and self.whatsapp is not None:
            return self.whatsapp.at(self.sms)
        return self.sms if channel == "sms" else None

    @property
    def directory(self) -> Path:
        """Where relative paths of the configuration start."""
        return self.path.parent

    def section(self, model: type[OfFeature]) -> OfFeature:
        """The section that a feature brings: its model says which."""
        return next(part for part in vars(self).values() if isinstance(part, model))

    def section_if_any(self, model: type[OfFeature]) -> OfFeature | None:
        """The same, of a section that may be missing."""
        return next((part for part in vars(self).values() if isinstance(part, model)), None)

    def tables(self, model: type[OfFeature]) -> tuple[OfFeature, ...]:
        """The listed tables that a feature brings."""
        return next(getattr(self, one.name) for one in SECTIONS.offered() if model in get_args(one.form))

    def named(self, model: type[OfFeature]) -> Mapping[str, OfFeature]:
        """The tables with names that a feature brings."""
        return next(getattr(self, one.name) for one in SECTIONS.offered() if model in get_args(one.form))


@cache
def whole_model() -> type[Settings]:
    """The model with the sections of the features that are there."""
    sections: dict[str, Any] = {one.name: (one.form, one.default) for one in SECTIONS.offered()}
    return create_model("Settings", __base__=Settings, **sections)
