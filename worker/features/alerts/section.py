"""The section `[alerts]`."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.settings import addresses
from onboarding_worker.settings.problems import Findings
from onboarding_worker.settings.secrets import HOW, Referenced
from onboarding_worker.settings.shape import FeatureSection
from onboarding_worker.settings.values import Lazy, Mailbox, Section, Shown, setting


def _chat_url(given: Any) -> str:
    """A web address, with a query where the service gives one."""
    parts = addresses.web_url(given, 'expected a URL such as "https://hooks.example.com/…"')
    if not isinstance(given, Referenced) and not is_loopback(parts.hostname or ""):
        raise ValueError(f"who knows this address can write there, so do not write it in the configuration; {HOW}")
    return str(given)


class Alerts(Section):
    """Who gets a message when something begins or ends to need a person."""

    email: tuple[Mailbox, ...] = setting((), "Mailboxes: a mail over the server of [email].")
    webhook: Annotated[str | None, BeforeValidator(_chat_url), Shown("URL"), Lazy()] = setting(
        None,
        'A chat\'s address: a POST of `{"text": "…"}`. It is a secret: from the environment or a file.',
        repr=False,
    )


def check(alerts: Alerts, given: Mapping[str, Any], findings: Findings) -> None:
    if alerts.email and "email" not in given:
        findings.consequence(("alerts", "email"), "mails need the server of [email]")


SECTION = FeatureSection(
    "alerts", Alerts, check=check, outside=lambda alerts: [("alerts", alerts.webhook)] if alerts.webhook else []
)
