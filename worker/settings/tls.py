"""The TLS of each client: one policy, one set of keys, one rule. What the libraries take: `core/foundation/tls.py`.

A far host is spoken to over TLS, verified. Only what may be the user's own server can do without: its section says
`tls = "off"`. This machine needs no TLS.
"""

import ssl
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import BeforeValidator, ValidationInfo

from onboarding_worker.core.foundation.tls import Tls, is_loopback
from onboarding_worker.settings.addresses import POSTGRESQL
from onboarding_worker.settings.problems import Findings, show_path
from onboarding_worker.settings.problems import Path as KeyPath
from onboarding_worker.settings.secrets import Referenced
from onboarding_worker.settings.values import Lazy, Section, Shown, directory_of, is_there

# The schemes without TLS, and those with it.
WITH_TLS = {"amqp": "amqps", "redis": "rediss", "http": "https", "smtp": "smtp+starttls or smtps"}
WITH_TLS["imap"] = "imap+starttls or imaps"
ENCRYPTED = ("amqps", "rediss", "https", "smtp+starttls", "smtps", "imap+starttls", "imaps")
# PostgreSQL's own word for a verified connection; its other words check less.
VERIFIED = "verify-full"
OFF = "off"


def _pem(given: Any, info: ValidationInfo) -> Path:
    path = given.file if isinstance(given, Referenced) and given.file else given
    if not isinstance(path, str | Path) or not str(path) or "\0" in str(path):
        raise ValueError('expected { file = "PATH" }')
    path = (directory_of(info) or Path()) / path
    if not is_there(path, stat.S_ISREG):
        raise ValueError("no such file (a relative path starts from the configuration's directory)")
    with suppress(OSError):  # what cannot be read is reported where it is used
        if exposed := Referenced.from_file(path).exposed:
            raise ValueError(f"the file {exposed}")
    return path


# The marks are those of the key itself: inside of `Pem | None` they would not be found.
Pem = Annotated[Path | None, BeforeValidator(_pem), Shown("file"), Lazy()]


class Client(Section):
    """A section with connections to another system. Here that is a public service: its TLS has no keys. Those with the
    keys `tls`, `ca` and `client_certificate` are below."""

    @property
    def wants_tls(self) -> Literal["verify", "off"] | None:
        """What the section says of TLS; None: nothing."""
        return getattr(self, "tls", None)

    @property
    def files(self) -> Tls:
        """Who signs the other side's certificate, and what the section presents."""
        return Tls(getattr(self, "ca", None), getattr(self, "client_certificate", None))

    @property
    def address(self) -> str:
        return str(getattr(self, self.address_key()))

    @classmethod
    def address_key(cls) -> str:
        return "url" if "url" in cls.model_fields else "base_url"

    @property
    def protection(self) -> Tls | None:
        """How the connections are verified; None where they have no TLS, or for PostgreSQL as its URL says."""
        return self.files if _is_verified(self) else None


class TrustsAuthority(Client):
    """A section whose other side may be behind a company's own authority."""

    ca: Pem = None


class OwnServer(TrustsAuthority):
    """A section whose other side may be the user's own."""

    tls: Literal["verify", "off"] | None = None


class PresentsCertificate(OwnServer):
    """A section whose other side may ask for a certificate."""

    client_certificate: Pem = None


def _is_verified(client: Client) -> bool:
    if client.address.startswith(f"{POSTGRESQL}:"):
        asked = client.wants_tls == "verify" or not client.files.is_usual
        return asked or (client.wants_tls is None and (_is_far(client.address) or _sslmode(client.address) == VERIFIED))
    return any(node.scheme in ENCRYPTED for node in _nodes(client.address))


def _nodes(url: str) -> list[SplitResult]:
    """The URLs of a broker's nodes; any other URL alone."""
    return [urlsplit(node) for node in url.split(";")]


def _sslmode(url: str) -> str | None:
    return dict(parse_qsl(urlsplit(url).query)).get("sslmode")


def _is_far(url: str) -> bool:
    """True if any host of this URL may be another machine. Without a host it is this machine, or its own socket."""
    parts = urlsplit(url)
    hosts = [parts.hostname or ""]
    if parts.scheme == POSTGRESQL:  # libpq takes hosts in the query too, and a service may name any host
        query = parse_qsl(parts.query)
        named = [value for key, value in query if key in ("host", "hostaddr")]
        hosts += [host.rpartition(":")[0] or host for value in named for host in value.split(",")]
        if any(key == "service" for key, _ in query):
            return True
    return any(host and not host.startswith(("/", "@")) and not is_loopback(host.strip("[]")) for host in hosts)


def check_tls(clients: Mapping[KeyPath, Client], findings: Findings) -> None:
    """Refuse what is neither verified nor switched off. One warning names every client without TLS."""
    off = []
    for path, client in clients.items():
        if any(map(client.lacks, ("ca", "client_certificate", client.address_key()))):
            continue  # not needed by this command
        known = len(findings.problems)
        if client.address.startswith(f"{POSTGRESQL}:"):
            _check_postgresql(path, client, findings)
        else:
            _check_url(path, client, findings)
        if len(findings.problems) == known:  # one mistake gives one line
            _check_files(path, client, findings)
        if client.wants_tls == OFF and any(_is_far(node.geturl()) for node in _nodes(client.address)):
            off.append(show_path(path))
    if off:
        findings.warnings.append(
            f'TLS is off for {", ".join(off)} (tls = "off"): what goes to and fro can be read and changed on its way'
        )


def _check_url(path: KeyPath, client: Client, findings: Findings) -> None:
    nodes = _nodes(client.address)
    choice = f'; or write tls = "off" in [{show_path(path)}]' if isinstance(client, OwnServer) else ""
    plain = [node for node in nodes if node.scheme in WITH_TLS]
    bare = [node for node in plain if client.wants_tls == "verify" or _is_far(node.geturl())]
    if client.wants_tls == OFF:
        if not plain and _is_verified(client):
            findings.problem((*path, "tls"), f'"off", but {nodes[0].scheme}:// asks for TLS: leave one of them out')
    elif bare:
        scheme = bare[0].scheme
        only = f"{scheme} is accepted for this machine (127.0.0.1, ::1, localhost) only{choice}"
        findings.problem((*path, client.address_key()), f"expected {WITH_TLS[scheme]}: {only}")


def _check_postgresql(path: KeyPath, client: Client, findings: Findings) -> None:
    mode, key = _sslmode(client.address), (*path, client.address_key())
    if client.wants_tls == OFF:
        if mode == VERIFIED:
            findings.problem((*path, "tls"), f'"off", but sslmode={VERIFIED} asks for TLS: leave one of them out')
    elif _is_verified(client) and mode not in (None, VERIFIED):
        instead = f'leave it out, or write sslmode={VERIFIED}; or write tls = "off" in [{show_path(path)}]'
        findings.problem(key, f"this sslmode does not check the server's certificate and host name: {instead}")
    if client.files.ca is not None and "sslrootcert=" in urlsplit(client.address).query:
        findings.problem((*path, "ca"), "the URL names another file (sslrootcert): leave one of them out")


def _check_files(path: KeyPath, client: Client, findings: Findings) -> None:
    """The files hold what they should, and are used."""
    both = {"ca": client.files.ca, "client_certificate": client.files.certificate}
    given = [name for name, file in both.items() if file is not None]
    if given and (client.wants_tls == OFF or not _is_verified(client)):
        findings.consequence((*path, given[0]), "used with TLS only, and this connection has none")
        return
    for name in given:
        try:
            (Tls(both[name]) if name == "ca" else Tls(None, both[name])).context()
        except (OSError, ssl.SSLError):
            key_too = "a certificate in PEM, with its private key (without a password)"
            expected = "a file with certificates in PEM" if name == "ca" else key_too
            findings.consequence((*path, name), f"expected {expected}")


def check_one_host(accounts: Mapping[str, Client], findings: Findings) -> None:
    """All accounts of one host share its connections, so they trust the same."""
    first: dict[str, tuple[str, Tls | None]] = {}
    for name, account in accounts.items():
        if account.lacks("ca"):
            continue
        other, protection = first.setdefault(urlsplit(account.address).netloc.lower(), (name, account.protection))
        if protection != account.protection:
            findings.problem(("accounts", name, "ca"), f"accounts.{other} has the same host: `ca` must be the same")
