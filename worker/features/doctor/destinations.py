"""The machines that this configuration connects to: what a firewall must let through."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.core.model.channels import channels_of
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.shape import SECTIONS
from onboarding_worker.wiring.watching import TRACES

PORTS = {
    "amqp": 5672,
    "amqps": 5671,
    "http": 80,
    "https": 443,
    "postgresql+psycopg": 5432,
    "redis": 6379,
    "rediss": 6379,
    "sftp": 22,
    "smtp": 25,
    "smtp+starttls": 587,
    "smtps": 465,
}


@dataclass(frozen=True)
class Destination:
    """One machine. `section` names it in the configuration, `scheme` is that of its address."""

    section: str
    host: str
    port: int
    scheme: str

    @property
    def is_here(self) -> bool:
        return is_loopback(self.host)


def destinations(settings: Settings) -> list[Destination]:
    """All machines, in the order of the configuration; a section with several nodes has one of each."""
    nodes = [(section, urlsplit(node)) for section, url in _addresses(settings) for node in url.split(";")]
    return [
        Destination(section, node.hostname, node.port or PORTS[node.scheme], node.scheme)
        for section, node in nodes
        if node.scheme in PORTS and node.hostname
    ]


def _addresses(settings: Settings) -> Iterator[tuple[str, str]]:
    yield "database", settings.database.url
    yield "broker", settings.broker.url
    for name, account in settings.accounts.items():
        yield f"accounts.{name}", account.address
    if settings.email is not None:
        yield "email", settings.email.url
    for channel in channels_of("phone"):
        if texting := settings.texting(channel):
            yield channel, texting.base_url
    if settings.bus is not None:
        yield "bus", settings.bus.url
    for one in SECTIONS.offered():
        yield from one.outside(getattr(settings, one.name))
    for tracer in TRACES.offered():
        if collector := tracer.collector():
            yield "traces", collector


def where_is(settings: Settings, section: str) -> str:
    """HOST:PORT of a section; "" if it is on no network."""
    return ", ".join(f"{one.host}:{one.port}" for one in destinations(settings) if one.section == section)
