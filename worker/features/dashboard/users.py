"""People who use the dashboard, what their roles let them do, and the file of them: TOML with a table for each, its
role and the hash of its password; and the section `[dashboard]`, which names the file."""

import logging
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator

from onboarding_worker.settings.secrets import Missing, Referenced, Secret
from onboarding_worker.settings.shape import Credentials, FeatureSection
from onboarding_worker.settings.values import Lazy, Section, Shown

log = logging.getLogger(__name__)

EXPECTED = 'expected { file = "PATH" } of a TOML file that `onboard users add NAME` writes'
# ASCII: other letters look alike, and would read as another person's name.
NAME = re.compile(r"[^\W_][\w.@+-]{0,63}", re.ASCII)  # it is in the audit log, and in forms
HASH = re.compile(r"\$argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")


class Role(StrEnum):
    """Each role may do what the roles before it may, and more."""

    VIEWER = "viewer"  # sees how the work stands; contact details are masked
    SERVICE_DESK = "service desk"  # finds customers, sees their contact details, sends to them again
    OPERATOR = "operator"  # decides about batches, accounts and events


_ORDER = list(Role)
# Before the names of people whom an identity provider names: no user of the file has a colon in its name.
OIDC = "oidc:"


@dataclass(frozen=True)
class Person:
    """Who looks at the dashboard. `name` "": a person without a name, who came with the key of a page to look at.
    With `OIDC` before it, the name is of the identity provider."""

    name: str
    role: Role

    def may(self, least: Role) -> bool:
        """Whether the person may do what needs this role. What changes something needs a name too, for the audit log:
        see `may_change`."""
        return _ORDER.index(self.role) >= _ORDER.index(least)

    def may_change(self, least: Role) -> bool:
        return bool(self.name) and self.may(least)

    @property
    def actor(self) -> str:
        """As the audit log names the person."""
        return f"{self.name} ({self.role.value}), dashboard"


def is_one_person(actor: str, other: str) -> bool:
    """Whether the audit log's names may be of one person: letter case, a role and a way to log in make no other one.
    Nor does an address: an identity provider may name by it whom the file of users names by what is before its @."""
    names = (one.removeprefix(OIDC).partition(" ")[0].casefold() for one in (actor, other))
    short, long = sorted(names, key=len)
    return long == short or long.startswith(f"{short}@")


@dataclass(frozen=True)
class User:
    role: Role
    password: Secret  # its hash, by Argon2id


class UserList(dict[str, User]):
    """The users by name, of the file as it was when it was read. `is_given`: the configuration names a file, even if
    this command does not read it."""

    file: Path | None = None
    is_given: bool = False
    _stamp: tuple[int, ...] = ()
    _newest: "UserList | None" = None

    @classmethod
    def of(cls, text: Referenced) -> "UserList":
        """Raises ValueError, which shows no part of a password."""
        users = cls(parse_users(text))
        users.file, users.is_given = text.file, True
        users._stamp = _stamp(text.file)
        return users

    def current(self) -> "UserList":
        """The users of the file as it is now, for each who holds this list. A file that cannot be read, or that others
        can read, changes nothing."""
        newest = self._newest or self
        if self.file is None or (stamp := _stamp(self.file)) == self._stamp:
            return newest
        self._stamp = stamp  # a bad file is reported once
        try:
            text = Referenced.from_file(self.file)
            if text.exposed:
                raise ValueError(text.exposed)
            found = UserList.of(text)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            log.warning("the users are not read again: the file %s: %s", self.file, why)
            return newest
        log.info("the users were read again: the file %s has changed", self.file)
        self._newest = found
        return found


def _stamp(file: Path | None) -> tuple[int, ...]:
    """What shows that the file was written or replaced; () if it is not there."""
    try:
        found = os.stat(file) if file is not None else None
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode) if found is not None else ()


def parse_users(text: str) -> dict[str, User]:
    """Raises ValueError, which shows no part of a password."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = str(error).rpartition("(")[2].removesuffix(")")
        raise ValueError(f"the file is not TOML ({where})") from None
    except (ValueError, RecursionError):
        raise ValueError("the file is nested too deeply, or has a number of thousands of digits") from None
    return {name: _user(number, name, given) for number, (name, given) in enumerate(table.items(), 1)}


def _user(number: int, name: str, given: Any) -> User:
    which = f"the user of table {number}"
    if not NAME.fullmatch(name):
        raise ValueError(f"{which}: a name has at most 64 letters, digits and . _ @ + -")
    if not isinstance(given, Mapping) or set(given) != {"role", "password"}:
        raise ValueError(f"{which}: expected a table with `role` and `password`; {EXPECTED}")
    if given["role"] not in list(Role):
        raise ValueError(f"{which}: its role is not one of {', '.join(Role)}")
    if not isinstance(given["password"], str) or not HASH.fullmatch(given["password"]):
        raise ValueError(f"{which}: its password is not a hash, as `onboard users add NAME` writes it")
    return User(Role(given["role"]), Secret(given["password"]))


def _users(given: Any) -> UserList:
    if isinstance(given, UserList):
        return given
    if isinstance(given, Missing):
        users = UserList()
        users.is_given = True
        return users
    if not isinstance(given, Referenced):
        raise ValueError(EXPECTED)
    return UserList.of(given)


Users = Annotated[
    UserList,
    PlainValidator(_users),
    PlainSerializer(lambda users: sorted(users), return_type=list[str]),
    Lazy(),
    Shown("file of users"),
]


class Dashboard(Section):
    """Pages for the people who run the work."""

    users: Users = Field(
        default_factory=UserList,
        description='Who may log in: { file = "users.toml" }, which `onboard users add NAME` writes. Read again when it'
        " changes. Without it the pages are only for looking, on loopback alone.",
    )


SECTION = FeatureSection(
    "dashboard",
    Dashboard,
    credentials=Credentials(
        "`users` in [dashboard]", lambda dashboard, _parts: bool(dashboard and dashboard.users.is_given)
    ),
)
