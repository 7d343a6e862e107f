"""Checks the configuration's hosts and URLs. No error repeats the URL: it may hold a password."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.settings.secrets import HOW, Referenced, Secret

LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
BROKERS = ("memory", "amqp", "amqps", "redis", "rediss")
Modes = dict[str, tuple[Literal["plain", "starttls", "tls"], int]]
IMAP: Modes = {"imap": ("plain", 143), "imap+starttls": ("starttls", 143), "imaps": ("tls", 993)}
SMTP: Modes = {"smtp": ("plain", 25), "smtp+starttls": ("starttls", 587), "smtps": ("tls", 465)}
POSTGRESQL = "postgresql+psycopg"
# Options of the sqlite3 module, and of SQLite itself for a file that is named as a URI.
SQLITE_OPTIONS = re.compile(
    "cache|cached_statements|check_same_thread|detect_types|immutable|isolation_level|mode|nolock|timeout|uri|vfs"
)


def is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= 253 and re.fullmatch(rf"{LABEL}(?:\.{LABEL})*", text) is not None
    return True


def split(given: Any, expected: str) -> SplitResult:
    """The URL's parts. Raises ValueError with the expected form."""
    # urlsplit drops line breaks silently, so the URL that is used would differ from the one that was checked.
    if not isinstance(given, str) or re.search(r"[\x00-\x20\x7f]", given):
        raise ValueError(expected)
    try:
        parts = urlsplit(given)
        _ = parts.port, parts.hostname
    except ValueError:  # its text repeats parts of the URL
        raise ValueError(expected) from None
    return parts


def without_plain_password(given: Any) -> Any:
    """Refuse a password that is written in the configuration itself, anywhere in the URL."""
    if isinstance(given, str) and not isinstance(given, Referenced):
        authority, at, _ = given.partition("://")[2].rpartition("@")
        if (at and ":" in authority) or re.search(r"[?&][a-z_]*password=", given, re.IGNORECASE):
            raise ValueError(f"do not write a URL with a password in the configuration; {HOW}")
    return given


def web_url(given: Any, expected: str, *, http: bool = False) -> SplitResult:
    """An https URL without credentials; http for this machine only, or with `http` for any."""
    parts = split(given, expected)
    host = parts.hostname or ""
    if "@" in parts.netloc:
        raise ValueError("a URL with credentials is not accepted here")
    if parts.scheme not in ("http", "https") or not is_host(host):
        raise ValueError(expected)
    if parts.scheme == "http" and not http and not is_loopback(host):
        raise ValueError("expected https: http is accepted for this machine (127.0.0.1, ::1, localhost) only")
    return parts


def base_url(given: Any, *, http: bool = False) -> str:
    """A web address without the slash at its end; paths are appended to it. `http`: whether that is accepted is the
    rule of `settings/tls.py`."""
    parts = web_url(given, 'expected a URL such as "https://api.example.com"', http=http)
    if parts.query or parts.fragment or "?" in given or "#" in given:
        raise ValueError("expected a URL without ? and #")
    path = parts.path.removesuffix("/")
    if "//" in path:
        raise ValueError("expected a URL without a double slash in its path")
    return f"{parts.scheme}://{parts.netloc}{path}"


def database_url(given: Any, directory: Path | None) -> str:
    """The database's SQLAlchemy URL. A relative SQLite path starts from the configuration's directory."""
    expected = f"expected sqlite:///FILE or {POSTGRESQL}://USER:PASSWORD@HOST/DATABASE"
    scheme = given.partition(":")[0].lower() if isinstance(given, str) else ""
    if scheme.startswith(("mysql", "mariadb")):
        raise ValueError(f"MySQL and MariaDB are not supported; {expected}")
    if scheme.startswith(("postgres", "postgresql")) and scheme != POSTGRESQL:
        raise ValueError(f"write {POSTGRESQL}:// instead, the rest as it is")
    parts = split(given, expected) if scheme != "sqlite" else None
    if parts is not None:
        if scheme != POSTGRESQL or not given.startswith(f"{POSTGRESQL}://"):
            raise ValueError(expected)
        _check_options(parts.query, _is_postgresql_option)
        return str(given)
    file, question, query = str(given).removeprefix("sqlite:///").partition("?")
    if not given.startswith("sqlite:///") or not file or ":memory:" in file or re.search(r"[\x00-\x1f\x7f]", given):
        raise ValueError("expected sqlite:///FILE: a database in memory would lose every session that was paid for")
    _check_options(query, lambda name: SQLITE_OPTIONS.fullmatch(name) is not None)
    return f"sqlite:///{(directory or Path()) / file}{question}{query}"


def _check_options(query: str, is_known: Callable[[str], bool]) -> None:
    """Refuse what the driver would refuse at its first connection, and what it would ignore."""
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if not is_known(name):
            shown = f"`{name}`" if re.fullmatch(r"[A-Za-z_]{1,40}", name) else "an option"
            raise ValueError(f"{shown} after the ? is not known to the database's driver")


def _is_postgresql_option(name: str) -> bool:
    from psycopg import pq  # imported here: few URLs have options

    return name == "prepare_threshold" or name.encode() in {option.keyword for option in pq.Conninfo.get_defaults()}


def broker_url(given: Any) -> str:
    """A broker that Celery and kombu can use; the nodes of one broker are separated by semicolons."""
    expected = "expected memory://, amqp://, amqps://, redis:// or rediss:// (Redis over a socket is not supported)"
    for node in given.split(";") if isinstance(given, str) else [given]:
        parts = split(node, expected)
        if parts.scheme not in BROKERS or (parts.scheme == "memory") == bool(parts.netloc):
            raise ValueError(expected)
        if any(name.startswith("ssl") for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
            raise ValueError("expected no `ssl…` in the URL: `tls`, `ca` and `client_certificate` say it")
    return str(given)


@dataclass(frozen=True)
class MailServer:
    """A mail relay, or the server of a mailbox. `tls`: none, after STARTTLS, or from the first byte."""

    host: str
    port: int
    tls: Literal["plain", "starttls", "tls"]
    username: str = ""
    password: Secret | None = None
    mailbox: str = ""

    @classmethod
    def smtp(cls, given: Any) -> "MailServer":
        expected = 'expected a URL such as "smtp://127.0.0.1:1025", smtp+starttls://USER:PASSWORD@HOST or smtps://…'
        parts = split(given, expected)
        if parts.scheme not in SMTP or not is_host(parts.hostname or "") or parts.port == 0:
            raise ValueError(expected)
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError(f"{expected}, with nothing after the port; quote @ / : in a password as %40 %2F %3A")
        if bool(parts.username) != bool(parts.password):
            raise ValueError(f"{expected}: a user and a password, or neither")
        return cls._of(parts, *SMTP[parts.scheme])

    @classmethod
    def imap(cls, given: Any) -> "MailServer":
        expected = 'expected "imaps://USER:PASSWORD@HOST/INBOX", imap+starttls://… or "maildir:///DIRECTORY"'
        parts = split(given, expected)
        mailbox = unquote(parts.path.removeprefix("/")) or "INBOX"
        is_server = parts.scheme in IMAP and is_host(parts.hostname or "") and parts.port != 0
        if not is_server or parts.query or parts.fragment:
            raise ValueError(expected)
        if not parts.username or not parts.password:
            raise ValueError(f"{expected}: with a user and a password")
        if not re.fullmatch(r"[ -~]{1,200}", mailbox, re.ASCII):
            raise ValueError(f"{expected}: a mailbox with a name in ASCII")
        return cls._of(parts, *IMAP[parts.scheme], mailbox)

    @classmethod
    def _of(
        cls, parts: SplitResult, tls: Literal["plain", "starttls", "tls"], port: int, mailbox: str = ""
    ) -> "MailServer":
        password = Secret(unquote(parts.password)) if parts.password else None
        return cls(parts.hostname or "", parts.port or port, tls, unquote(parts.username or ""), password, mailbox)


def bind_address(given: Any) -> tuple[str, int]:
    """HOST:PORT to listen on. Raises ValueError."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+)):(\d{1,5})", given) if isinstance(given, str) else None
    if not match or not is_host(match[1] or match[2]) or int(match[3]) > 65535:
        raise ValueError('expected HOST:PORT with a port up to 65535, such as "127.0.0.1:8080" or "[::1]:8080"')
    return match[1] or match[2], int(match[3])
