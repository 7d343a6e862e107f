"""The options of a sandbox."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from onboarding_sandbox.behaviour import Share
from onboarding_sandbox.faults import RETRY_AFTER, Fault, Latency, RateLimit, SmtpFault

Clock = Callable[[], datetime]

FASTEST = 1_000_000_000


def utc_now() -> datetime:
    """Aware UTC."""
    # The sandbox imports nothing of the worker, not even its clock, so that it is an independent check.
    return datetime.now(UTC)  # noqa: TID251


@dataclass(frozen=True)
class SandboxOptions:
    """Everything has a default. Port 0 takes any free port. The credentials are invented and no secret."""

    host: str = "127.0.0.1"
    port: int = 0
    smtp_port: int = 0
    faults: tuple[Fault, ...] = ()
    smtp_faults: tuple[SmtpFault, ...] = ()
    latencies: tuple[Latency, ...] = ()
    limits: tuple[RateLimit, ...] = ()
    limit_retry_after: str = "seconds"  # the form of Retry-After on a 429 of a limit: seconds, date, garbage, none
    seed: int | None = None  # the same seed gives the same faults; None: different faults each time
    conflict: bool = False  # iDenfy: 409 for a second live session of a clientId
    credits: int | None = None  # iDenfy: sessions until it answers "token limit"; None: no limit
    idenfy_key: str = "sandbox-key"
    idenfy_secret: str = field(default="sandbox-secret", repr=False)
    frankieone_key: str = field(default="sandbox-key", repr=False)
    frankieone_customer: str = "11111111-1111-4111-8111-111111111111"
    # A week, though real vendors often give less: a link in a mail should still work when the mail is read.
    frankieone_lifetime: timedelta = timedelta(days=7)
    frankieone_unknown: frozenset[str] = frozenset()  # entity ids that are answered 404
    frankieone_sms_sent: bool = False  # FrankieOne answers that it has sent the person a text itself
    twilio_account: str = "AC00000000000000000000000000000001"
    twilio_token: str = field(default="sandbox-token", repr=False)
    # The numbers and messaging services that may send; the number is Twilio's number for tests.
    twilio_senders: frozenset[str] = frozenset({"+15005550006", "MG00000000000000000000000000000001"})
    twilio_opted_out: frozenset[str] = frozenset()  # numbers that have answered STOP: error 21610
    smtp_user: str | None = None  # None: the mailbox needs no login
    smtp_password: str = field(default="", repr=False)
    smtp_refused: frozenset[str] = frozenset()  # addresses refused with 550, compared without case
    customers: tuple[Share, ...] = ()  # what customers do by themselves; the rest does nothing
    customers_keep: bool = False  # what a customer does is drawn once, for all of its sessions
    customers_after: tuple[timedelta, timedelta] = (
        timedelta(seconds=10),
        timedelta(minutes=2),
    )  # drawn between the two
    # The worker's web application: customers come by the worker's own link in a message, and act in the session that
    # its page leads to. None: they act by the session's own link.
    page: str | None = None
    # They act after a message with the session's link has arrived; False: after their session was opened, also where
    # the sandbox sees no message, as of a row of channel `none`.
    customers_by_message: bool = False
    # The codes of refusals of persons: each session that is denied has one of them, drawn by its reference.
    deny_reasons: tuple[str, ...] = ("DOC_NOT_FULLY_VISIBLE",)
    review_after: timedelta = timedelta(minutes=5)  # how long a review takes
    time_scale: float = 1.0  # how many seconds of the customers' time pass in one real second
    # By endpoint, the address of its webhooks. "" is for all other endpoints: the endpoint's name is appended to it.
    webhooks: Mapping[str, str] = field(default_factory=dict, repr=False)
    webhook_troubles: tuple[Share, ...] = ()
    webhook_key: str = field(default="sandbox-webhook-key", repr=False)  # iDenfy's
    webhook_jwt_key: str = field(default="", repr=False)  # FrankieOne's: an RSA private key, PEM; "": no token
    texts: tuple[Share, ...] = ()  # what happens to texts; the rest is delivered; (): nothing is reported
    mails: tuple[Share, ...] = ()  # what is reported about mails; nothing about the rest
    mail_webhook: str | None = field(default=None, repr=False)
    mail_webhook_key: str = field(default="sandbox-mail-key", repr=False)
    log_file: Path | None = None  # the log is also written there, as JSON lines; it contains tokens
    clock: Clock = utc_now

    def __post_init__(self) -> None:
        if self.limit_retry_after not in RETRY_AFTER:
            raise ValueError(f"limit_retry_after is one of {', '.join(RETRY_AFTER)}")
        if not 0 < self.time_scale <= FASTEST:
            raise ValueError(f"time_scale is more than 0, and at most {FASTEST:,}")
