"""Reads the templates of the configuration: of messages, and of the page behind our own link."""

from worker.providers.facts import facts_of
from worker.settings.model import Settings
from worker.settings.problems import SettingsError
from worker.templates.checks import doubts
from worker.templates.library import Library
from worker.templates.pages import Pages
from worker.templates.render import Templates
from worker.wiring.adapters import brands_of, sender_name


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
    )
    unknown = [
        f"brand.{name}.template: there is no template of that name"
        for name, brand in brands.items()
        if brand.template and brand.template not in templates.names
    ]
    unknown += [
        f"follow_up.ladder[{number}].template: there is no template of that name"
        for number, step in enumerate(settings.follow_up.ladder, start=1)
        if step.template and step.template not in templates.names
    ]
    if unknown:
        raise SettingsError(unknown)
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


def doubtful_templates(settings: Settings, templates: Templates) -> list[str]:
    """A warning for each value in an own template that the answers of these accounts may lack."""
    facts = (facts_of(account.provider) for account in settings.accounts.values())
    answers = (found.answers for found in facts if found)
    return doubts(templates, {name for names in answers for name in names})
