"""Builds the providers that the configuration names, one for each account; and how the sender of messages is named."""

from email.utils import parseaddr

from worker.core.model.channels import is_mail
from worker.providers.account import AccountUnusable
from worker.providers.contract import Provider
from worker.providers.parameters import check_parameters
from worker.providers.registry import build_provider
from worker.settings.model import Settings
from worker.settings.problems import SettingsError
from worker.templates.brand import Brand

UNNAMED = "Verification"  # the sender's name in a text where neither [sms] nor [email] has a name


def build_providers(settings: Settings) -> dict[str, Provider]:
    """The providers by account. Raises SettingsError with all problems of all accounts."""
    providers, problems = {}, []
    for name, account in settings.accounts.items():
        try:
            providers[name] = build_provider(account)
        except AccountUnusable as error:
            problems.append(str(error))
            continue
        problems += [
            f"accounts.{name}.parameters.{found.column.partition('.')[2] or found.column}: {found.problem}"
            + (f"; {found.hint}" if found.hint else "")
            for found in check_parameters(account.provider, account.parameters, account.dialect)
        ]
    if problems:
        raise SettingsError(problems)
    return providers


def sender_name(settings: Settings, channel: str) -> str:
    """The sender's name in a message: that of `[brand]`; else to a phone a `from` that is a name; else of the mails."""
    email, sms = settings.email, settings.sms
    brand = brand_of(settings).name
    if not is_mail(channel) and sms is not None and sms.sender_name and not brand:
        return sms.sender_name
    return brand or (display_name(email.from_) if email else UNNAMED)


def brand_of(settings: Settings) -> Brand:
    """The look of the messages."""
    return settings.brand.look if settings.brand else Brand()


def display_name(from_: str) -> str:
    """The sender's name in a From address, or else the domain."""
    name, address = parseaddr(from_)
    return name or address.partition("@")[2]
