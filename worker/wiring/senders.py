"""Builds the senders that the configuration names, for each channel one. A process that sends nothing needs none."""

from collections.abc import Callable
from dataclasses import dataclass

from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.channels import channels_of
from onboarding_worker.http.client import Http
from onboarding_worker.http.trust import trust_of
from onboarding_worker.senders.contract import Caller, Returning, Sender, TextTools, text_service
from onboarding_worker.senders.email import EmailSender
from onboarding_worker.settings.model import Settings


@dataclass(frozen=True)
class WayBack:
    """How reports of messages find their way back. `mails`: of the mail with this key; None where the configuration
    has nothing of it. `texts`: the address that the service of this channel reports to; "" for none. `domain`: that of
    the addresses which mails come back to; "" where that is the From address."""

    mails: Callable[[Settings, Keyring], Callable[[str], Returning] | None]
    texts: Callable[[Settings, str], str] = lambda _settings, _channel: ""
    domain: Callable[[Settings], str] = lambda _settings: ""


# The feature `bounces` signs an address for each mail, `delivery` names the address for callbacks about texts.
WAYS_BACK = Hook("WAYS_BACK", WayBack)


def build_senders(
    settings: Settings, clock: Clock, keyring: Keyring | None = None, *, texting: Caller | None = None
) -> dict[str, Sender]:
    """The senders by channel. Build them on the loop that will use them. `keyring` signs the mails' return paths.
    `texting` makes the calls of the services for texts; None: each over connections of its own."""
    senders: dict[str, Sender] = {}
    email = settings.email
    if email is not None:
        server = email.server
        senders["email"] = EmailSender(
            host=server.host,
            port=server.port,
            tls=server.tls,
            username=server.username,
            password=server.password.reveal() if server.password else "",
            from_=email.from_,
            reply_to=email.reply_to or "",
            brands={name: brand.addresses(email) for name, brand in settings.brands.items()},
            timeout=email.timeout,
            connections=email.connections,
            hold_unknown=email.on_unknown == "hold",
            login_from=_source(settings, "email.url"),
            tls_context=email.protection.context() if email.protection else None,
            returning=_returning(settings, keyring) if keyring is not None else None,
        )
    for channel in channels_of("phone"):
        section = settings.texting(channel)
        if section is None:
            continue
        tools = TextTools(
            texting or Http(trust=trust_of({section.base_url: section.protection})),
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
