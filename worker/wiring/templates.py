"""Reads the templates of the configuration: of messages, and of the page behind our own link; and says whose name they
have."""

from collections.abc import Iterable
from email.utils import parseaddr

from onboarding_worker.core.model.channels import address_of, is_mail
from onboarding_worker.core.model.customers import MESSAGE, Customer, FieldProblem, invitation_channels
from onboarding_worker.core.rules.contact import ContactPolicy
from onboarding_worker.lists.own_columns import PREFIX, is_own
from onboarding_worker.providers.facts import facts_of
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.policies import mail_domains
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.templates.brand import Brand
from onboarding_worker.templates.checks import doubts
from onboarding_worker.templates.library import DEFAULT, Library
from onboarding_worker.templates.pages import Pages
from onboarding_worker.templates.render import Templates

UNNAMED = "Verification"  # the sender's name in a text where neither [sms] nor [email] has a name


def sender_name(settings: Settings, channel: str, brand: str = "") -> str:
    """The sender's name in a brand's message: its `name`; else that in its own `from`; else to a phone a `from` that is
    a name; else of the mails. `brand` "": the default one."""
    email, sms, named = settings.email, settings.sms, settings.brands.get(brand)
    of_brand = brands_of(settings).get(brand, Brand()).name  # one that is no more is refused by the templates
    its_own = (named.from_ if named is not None else None) or ""
    if of_brand or its_own:
        return of_brand or display_name(its_own)
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


def templates_of(settings: Settings) -> Templates:
    """The built-in templates and the operator's own. Reads the files."""
    invitations = settings.invitations
    brands = brands_of(settings)
    templates = Templates(
        invitations.templates,
        locale=invitations.locale,
        brand=brands.pop(""),
        brands=brands,
        greeting=invitations.greeting,
        domains=mail_domains(settings),
    )
    named: dict[str, str | None] = {f"brand.{name}": brand.template for name, brand in brands.items()}
    named |= {f"follow_up.ladder[{at}]": step.template for at, step in enumerate(settings.follow_up.ladder, start=1)}
    unknown = [key for key, template in named.items() if template and template not in templates.names]
    if unknown:
        raise SettingsError([f"{key}.template: there is no template of that name" for key in unknown])
    lacking = [
        f"{channel}: there is no template for it in {settings.invitations.locale}; docs/how-to/templates.md shows one"
        for channel in settings.sending
        if templates.lacks(channel)
    ]
    if lacking:
        raise SettingsError(lacking)
    return templates


def pages_of(settings: Settings) -> dict[str, Pages]:
    """The page behind our own link, by brand. Reads the files."""
    library = Library.read(settings.invitations.templates)
    return {
        name: Pages(
            library,
            locale=settings.invitations.locale,
            brand=brand,
            sender_name=sender_name(settings, "email", name),
            timezone=settings.invitations.timezone,
        )
        for name, brand in brands_of(settings).items()
    }


def lacking_columns(templates: Templates, contact: ContactPolicy, customer: Customer) -> list[FieldProblem]:
    """The columns of the list's own that a message of the customer's shows, and the row has no value of: who gets
    half a sentence is not written to. Its reminders, and the channel that follows a bounce, count too."""
    channels = invitation_channels(customer.channel)
    if not templates.own_columns or not channels or customer.brand not in templates.brands:
        return []
    named = customer.template or templates.brands[customer.brand].template
    if (named or DEFAULT) not in templates.names:
        return []
    messages = [(channel, named) for channel in (*channels, *map(contact.fallbacks.get, channels))]
    for step in contact.ladder.steps.values():
        messages += [(channel, step.template) for channel in ([step.channel] if step.channel else channels)]
    given = customer.person.message or {}
    found: dict[str, FieldProblem] = {}
    for channel, template in messages:
        if channel is None or not address_of(customer.person, channel):
            continue
        for name, file in templates.needs(template or named, customer.locale, channel).items():
            if name not in given:
                hint = f"fill it in, or write {{% if {MESSAGE}.{name} %}} in the template"
                found.setdefault(name, FieldProblem(f"{MESSAGE}.{name}", f"no value, and {file} shows it", hint))
    return list(found.values())


def doubtful_templates(settings: Settings, templates: Templates, columns: Iterable[str] = ()) -> list[str]:
    """A warning for each value in an own template that the answers of these accounts, or a list, may lack. `columns`:
    those of a list."""
    facts = (facts_of(account.provider) for account in settings.accounts.values())
    answers = (found.answers for found in facts if found)
    own = settings.import_.for_messages | {one.removeprefix(PREFIX) for one in columns if is_own(one)}
    return doubts(templates, {name for names in answers for name in names}, own)
