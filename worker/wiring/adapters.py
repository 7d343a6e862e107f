"""Builds the adapters that the configuration names: a provider for each account, a sender for each channel."""

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parseaddr

from worker.core.features import Hook
from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.core.model.channels import channels_of, is_mail
from worker.http.trust import faster, trust_of, way_of
from worker.providers.account import AccountUnusable
from worker.providers.contract import Provider
from worker.providers.facts import facts_of
from worker.providers.parameters import check_parameters
from worker.providers.registry import build_provider
from worker.senders.contract import Caller, Returning, Sender, TextTools, text_service
from worker.senders.email import EmailSender
from worker.senders.smtp_connection import one_by_one
from worker.settings.model import Settings
from worker.settings.problems import SettingsError
from worker.templates.brand import Brand
from worker.templates.checks import doubts
from worker.templates.library import Library
from worker.templates.pages import Pages
from worker.templates.render import Templates

UNNAMED = "Verification"  # the sender's name in a text where neither [sms] nor [email] has a name


@dataclass(frozen=True)
class WayBack:
    """How reports of messages find their way back. `mails`: of the mail with this key; None where the configuration
    has nothing of it. `texts`: the address that the service of this channel reports to; "" for none."""

    mails: Callable[[Settings, Keyring], Callable[[str], Returning] | None]
    texts: Callable[[Settings, str], str] = lambda _settings, _channel: ""


# The feature `bounces` signs an address for each mail, `delivery` names the address for callbacks about texts.
WAYS_BACK = Hook("WAYS_BACK", WayBack)


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


def build_senders(
    settings: Settings, clock: Clock, keyring: Keyring | None = None, *, texting: Caller | None = None
) -> dict[str, Sender]:
    """The senders by channel. Build them on the loop that will use them. `keyring` signs the mails' return paths.

    `texting` makes the calls of the services for texts; None: each over connections of its own.
    """
    from worker.http.client import OwnHttp  # imported here: aiohttp, which a command that makes no call does not need

    senders: dict[str, Sender] = {}
    email = settings.email
    if email is not None:
        server, way = email.server, way_of(settings)
        senders["email"] = EmailSender(
            host=server.host,
            port=server.port,
            tls=server.tls,
            username=server.username,
            password=server.password.reveal() if server.password else "",
            from_=email.from_,
            timeout=email.timeout,
            connections=email.connections,
            hold_unknown=email.on_unknown == "hold",
            login_from=_source(settings, "email.url"),
            tls_context=email.protection.context() if email.protection else None,
            returning=_returning(settings, keyring) if keyring is not None else None,
            transact=way.transact() if way else one_by_one,
        )
    for channel in channels_of("phone"):
        section = settings.texting(channel)
        if section is None:
            continue
        tools = TextTools(
            texting or OwnHttp(trust_of({section.base_url: section.protection}), faster(settings)),
            now=clock,
            callback=next(filter(None, (one.texts(settings, channel) for one in WAYS_BACK.offered())), ""),
            repeat_unknown=section.on_unknown == "repeat",
            login_from=f"sms.{'key' if section.key else 'account'} or {_source(settings, 'sms.token')}",
            channel=channel,
        )
        senders[channel] = text_service(section.provider).sender(section, tools)
    return senders


def _returning(settings: Settings, keyring: Keyring) -> Callable[[str], Returning] | None:
    ways = [way for one in WAYS_BACK.offered() if (way := one.mails(settings, keyring)) is not None]

    def returning(key: str) -> Returning:
        found = [way(key) for way in ways]
        address = next((one.address for one in found if one.address), "")
        return Returning(address, tuple(line for one in found for line in one.headers))

    return returning if ways else None


def _source(settings: Settings, key: str) -> str:
    """A key of the configuration, and where its value comes from, for people."""
    source = settings.sources.get(key)
    return f"{key} ({source})" if source else key


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


def templates_of(settings: Settings) -> Templates:
    """The built-in templates and the operator's own. Reads the files."""
    invitations = settings.invitations
    templates = Templates(
        invitations.templates, locale=invitations.locale, brand=brand_of(settings), greeting=invitations.greeting
    )
    unknown = [
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


def pages_of(settings: Settings) -> Pages:
    """The page behind our own link. Reads the files."""
    return Pages(
        Library.read(settings.invitations.templates),
        locale=settings.invitations.locale,
        brand=brand_of(settings),
        sender_name=sender_name(settings, "email"),
        timezone=settings.invitations.timezone,
    )


def doubtful_templates(settings: Settings, templates: Templates) -> list[str]:
    """A warning for each value in an own template that the answers of these accounts may lack."""
    facts = (facts_of(account.provider) for account in settings.accounts.values())
    answers = (found.answers for found in facts if found)
    return doubts(templates, {name for names in answers for name in names})


def display_name(from_: str) -> str:
    """The sender's name in a From address, or else the domain."""
    name, address = parseaddr(from_)
    return name or address.partition("@")[2]
