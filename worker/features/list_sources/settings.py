"""Folders that lists are taken from."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from onboarding_worker.core.foundation.private_files import PRIVATE, SHARED
from onboarding_worker.core.model.channels import ChannelName
from onboarding_worker.settings.addresses import is_host, split
from onboarding_worker.settings.problems import Findings
from onboarding_worker.settings.secrets import Secret
from onboarding_worker.settings.shape import FeatureSection
from onboarding_worker.settings.tls import Client
from onboarding_worker.settings.values import (
    Country,
    Credential,
    Flag,
    Lazy,
    Locale,
    ServerUrl,
    Shown,
    Text,
    Whole,
    directory_of,
    setting,
)

_EXPECTED = 'expected the path of a directory, "sftp://USER@HOST/DIRECTORY" or "s3://BUCKET/PREFIX"'
AWS = "https://s3.amazonaws.com"  # where the bucket's region is elsewhere, it says so
_OF_SFTP = ("key", "password", "known_hosts")
_OF_S3 = ("endpoint", "access_key", "secret_key")


@dataclass(frozen=True)
class Remote:
    """A folder on another machine. In S3 the host is the bucket. `path` begins with a slash."""

    scheme: Literal["sftp", "s3"]
    host: str
    path: str
    user: str = ""
    port: int | None = None

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2] or self.host

    @property
    def prefix(self) -> str:
        """What the names of a bucket's objects begin with."""
        inner = self.path.strip("/")
        return f"{inner}/" if inner else ""

    def __str__(self) -> str:
        at = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{at}{self.host}{port}{self.path.rstrip('/')}"

    @classmethod
    def parse(cls, given: str) -> "Remote":
        """Raises ValueError."""
        parts = split(given, _EXPECTED)
        path = unquote(parts.path) or "/"
        if parts.password is not None:
            raise ValueError("a password in an address can be seen by others: `password` takes it")
        if parts.query or parts.fragment or not path.isprintable() or ".." in path.split("/") or len(path) > 500:
            raise ValueError(_EXPECTED)
        if parts.scheme == "s3" and re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc):
            return cls("s3", parts.netloc, path)
        if parts.scheme == "sftp" and is_host(parts.hostname or "") and parts.username:
            user = unquote(parts.username)
            if user.isprintable() and parts.port != 0:
                return cls("sftp", parts.hostname or "", path, user, parts.port)
        raise ValueError(_EXPECTED)


def _folder(given: Any, info: ValidationInfo) -> Path | Remote:
    if isinstance(given, Remote):
        return given
    if not isinstance(given, str | Path) or not str(given):
        raise ValueError(_EXPECTED)
    if "://" in str(given):
        return Remote.parse(str(given))
    # It need not be there: a folder on a network is away at times, and `onboard status` says so.
    return (directory_of(info) or Path()) / given


def _known_hosts(given: Any) -> str:
    """Lines of a file known_hosts. Only their form is checked here."""
    lines = [line.strip() for line in given.splitlines()] if isinstance(given, str) else []
    lines = [line for line in lines if line and not line.startswith("#")]
    key = r"(?:@[a-z-]+ +)?[^\s]+ +(?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+ +[A-Za-z0-9+/]+={0,2}(?: .*)?"
    if not lines or not all(re.fullmatch(key, line) for line in lines):
        raise ValueError('expected lines as of the file known_hosts, such as "HOST ssh-ed25519 AAAA…"')
    return "\n".join(lines) + "\n"


def _private_key(secret: Secret) -> Secret:
    if not secret.is_missing and "PRIVATE KEY-----" not in secret.reveal():
        raise ValueError("expected a private key, as `ssh-keygen` writes it")
    return secret


class Intake(Client):
    """A folder that lists are taken from, by `onboard up` and by workers."""

    folder: Annotated[Path | Remote, BeforeValidator(_folder), Shown("directory or address")] = setting(
        ...,
        "The directory, relative to this configuration; or `sftp://USER@HOST/DIRECTORY`, or `s3://BUCKET/PREFIX`, each"
        " with its extra.",
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")] | None = setting(
        None, "Its name in `status` and the audit log.", "the directory's last name"
    )
    approve: Flag = setting(
        False,
        "true: nothing of a list is sent, and no known customer's details change, before a person agrees with `onboard"
        " resume`.",
    )
    readable_by: Literal["owner", "group"] | None = setting(
        None,
        'Who can read the errors and reports: "owner", the user who writes them (mode 0600), or also its "group" (mode'
        " 0640).",
        '`"owner"`; S3 has no modes',
    )
    strict: Flag = setting(False, "true: a list with one rejected row is refused as a whole.")
    account: Text | None = setting(None, "The account of rows that name none.", "by the routes")
    template: Text | None = setting(None, "The template of rows that name none.", "the default one")
    brand: Text | None = setting(None, "The brand of rows that name none.", "by the routes")
    locale: Locale | None = setting(None, "The language of rows that name none.", "invitations.locale")
    purpose: Text | None = setting(None, "The purpose of rows that name none.", "onboarding")
    country: Country | None = setting(None, "The country of rows that name none.")
    channel: Literal[ChannelName, "both", "none"] | None = setting(
        None, "The channel of rows that name none.", "what the row has"
    )
    per_hour: Whole | None = setting(
        None,
        "The most first invitations of one list in an hour, as `run --per-hour`.",
        "as fast as the limits allow",
        ge=1,
        le=10_000_000,
    )

    key: Annotated[Secret, AfterValidator(_private_key), Shown("secret")] | None = setting(
        None, "sftp: the private key to log in with, without a passphrase."
    )
    password: Secret | None = setting(None, "sftp: the password to log in with.")
    known_hosts: Annotated[str, BeforeValidator(_known_hosts), Shown("lines"), Lazy()] | None = setting(
        None, "sftp: the server's key, as a line of the file known_hosts. It is always checked.", "`~/.ssh/known_hosts`"
    )
    endpoint: Annotated[ServerUrl, Lazy()] | None = setting(None, "s3: the server, if it is not AWS.", "AWS")
    access_key: Credential | None = setting(None, "s3: the id of the access key.", "AWS's own configuration")
    secret_key: Credential | None = setting(None, "s3: the secret of `access_key`.", "AWS's own configuration")

    @classmethod
    def address_key(cls) -> str:
        return "endpoint"

    @property
    def address(self) -> str:
        """The URL of S3's server. Folders of other kinds have none."""
        return (self.endpoint or AWS) if self.is_s3 else ""

    @property
    def is_s3(self) -> bool:
        return isinstance(self.folder, Remote) and self.folder.scheme == "s3"

    @property
    def looks_every(self) -> timedelta:
        return timedelta(seconds=30 if isinstance(self.folder, Remote) else 2)

    @property
    def mode(self) -> int:
        """The mode of the files that are written there."""
        return SHARED if self.readable_by == "group" else PRIVATE

    @property
    def known_as(self) -> str:
        """Its name for people and in the database."""
        return self.name or self.folder.name[:63]

    @property
    def defaults(self) -> dict[str, str]:
        """What a row's cell is where the row has none, by our column."""
        columns = ("account", "template", "brand", "locale", "purpose", "country", "channel")
        return {column: str(value) for column in columns if (value := getattr(self, column)) is not None}


def _check(folders: Mapping[int, Intake], given: Mapping[str, Any], findings: Findings) -> None:
    """Each folder has a name and a directory of its own, and names what is there."""
    accounts, rights = given.get("accounts"), given.get("rights", {})
    names = Counter(one.known_as for one in folders.values())
    places = Counter(_place(one) for one in folders.values())
    of_folders = rights.get("folders") if isinstance(rights, dict) else None
    for name in of_folders if isinstance(of_folders, dict) else ():
        if name not in names:
            findings.consequence(("rights", "folders", name), "no folder of [[intake]] has this name")
    for index, one in folders.items():
        path = ("intake", index)
        if names[one.known_as] > 1:
            findings.consequence((*path, "name"), f"two folders are called {one.known_as}: give each a name")
        if places[_place(one)] > 1:
            findings.consequence((*path, "folder"), "it is named twice")
        if one.account is not None and isinstance(accounts, dict) and accounts and one.account not in accounts:
            findings.consequence((*path, "account"), "no such account")
        brands = given.get("brand")
        if one.brand is not None and not (isinstance(brands, dict) and isinstance(brands.get(one.brand), dict)):
            findings.consequence((*path, "brand"), "no such brand")
        _check_log_in(index, one, findings)


def _place(folder: Intake) -> str:
    at = folder.folder
    return f"{folder.endpoint or ''} {at}" if isinstance(at, Remote) else str(at.absolute())


def _check_log_in(index: int, one: Intake, findings: Findings) -> None:
    """A folder has what its kind needs, and nothing of another kind."""
    scheme = one.folder.scheme if isinstance(one.folder, Remote) else ""
    for kind, keys in (("sftp", _OF_SFTP), ("s3", _OF_S3)):
        for key in keys:
            if scheme != kind and (one.lacks(key) or getattr(one, key) is not None):
                findings.consequence(("intake", index, key), f"for folders on {kind}:// only")
    is_bad = not findings.explained.isdisjoint(("intake", index, key) for key in ("key", "password"))
    if scheme == "sftp" and one.key is None and one.password is None and not is_bad:
        findings.consequence(("intake", index, "folder"), "needs `key` or `password`, to log in with")
    if scheme == "s3" and one.readable_by is not None:
        findings.consequence(("intake", index, "readable_by"), "S3 has no modes: the bucket's policy says who may read")
    for key, other in (("access_key", "secret_key"), ("secret_key", "access_key")):
        if scheme == "s3" and getattr(one, key) is not None and getattr(one, other) is None:
            findings.consequence(("intake", index, key), f"needs `{other}`, too")


SECTION = FeatureSection(
    "intake",
    tuple[Intake, ...],
    (),
    check=_check,
    outside=lambda folders: [
        (f"intake.{one.known_as}", one.address if one.is_s3 else str(one.folder))
        for one in folders
        if isinstance(one.folder, Remote)
    ],
)
