"""Builds the providers that the configuration names, one for each account; and how the sender of messages is named."""

from email.utils import parseaddr

from worker.core.model.channels import is_mail
from worker.providers.account import AccountUnusable
from worker.providers.contract import Provider, build_provider
from worker.providers.parameters import check_parameters
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


def sender_name(settings: Settings, channel: str, brand: str = "") -> str:
    """The sender's name in a brand's message: its `name`; else that in its own `from`; else to a phone a `from` that is
    a name; else of the mails. `brand` "": the default one."""
    email, sms, named = settings.email, settings.sms, settings.brands.get(brand)
    of_brand = brands_of(settings).get(brand, Brand()).name  # one that is no more is refused by the templates
    if of_brand or (named is not None and named.from_):
        return of_brand or display_name(named.from_ if named is not None and named.from_ else "")
    if not is_mail(channel) and sms is not None and sms.sender_name:
        return sms.sender_name
    return display_name(email.from_) if email else UNNAMED


def brands_of(settings: Settings) -> dict[str, Brand]:
    """The look of each brand's messages; of "", the default one's."""
    named = {name: brand.look for name, brand in settings.brands.items()}
    return {"": settings.brand.look if settings.brand else Brand(), **named}


def display_name(from_: str) -> str:
    """The sender's name in a From address, or else the domain."""
    name, address = parseaddr(from_)
    return name or address.partition("@")[2]
