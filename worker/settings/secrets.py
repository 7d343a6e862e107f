"""Secrets: their sources, the type that never shows them, and which files others could read or change."""

import hmac
import logging
import os
import re
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from onboarding_worker.core.foundation.features import hint
from onboarding_worker.settings.problems import SettingsError

log = logging.getLogger(__name__)
HOW = 'write { env = "NAME" } or { file = "PATH" }'
MOST_BYTES = 1_000_000
# A key that we choose: a person who guesses it may cancel and erase customers.
LEAST_KEY = 32
# Another user may read a file, or put something else in its place.
_OPEN = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP


class Referenced(str):
    """A string that came from the environment or from a file, not from the configuration itself."""

    file: Path | None = None
    owner: int | None = None  # see `from_file`
    # Why others may have written the file's text, and what to do; "": they have not.
    changed: str = ""
    # As `changed`, or why the text is no secret any more; "": it is one, or need not be.
    exposed: str = ""

    @classmethod
    def from_file(cls, path: Path, *, owner: int | None = None) -> "Referenced":
        """The file's text without its last line break. `owner`: whose files are believed besides root's and this
        user's: the configuration's owner; None: everybody's. Raises OSError, or ValueError if it is not text."""
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            raw = stream.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise ValueError("is too large")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("is not UTF-8 text") from None
        value = cls(text.removesuffix("\n").removesuffix("\r"))
        value.file, value.owner = path, owner
        if owner not in (None, found.st_uid) and is_of_another_user(found):
            value.changed = f"is another user's: `chown {os.geteuid()} {shlex.quote(str(path))}` if you trust its text"
        elif is_writable_by_others(found):
            value.changed = f"can be changed by other users of this machine: `chmod o-w {shlex.quote(str(path))}`"
        value.exposed = value.changed
        # Certificates and public keys are no secrets.
        is_public = text.lstrip().startswith("-----BEGIN ") and "PRIVATE KEY" not in text
        if is_open_to_others(found) and not is_public:
            value.exposed = f"can be read or changed by other users of this machine: `{_closing(path, found)}`"
        return value


def _closing(path: Path, found: os.stat_result) -> str:
    """The command after which this process can still read the file, and other users cannot."""
    name = shlex.quote(str(path))
    if os.geteuid() in (0, found.st_uid):
        return f"chmod 600 {name}"
    return f"chgrp {os.getegid()} {name} && chmod 640 {name}"


@dataclass(frozen=True)
class Missing:
    """Replaces a reference that has no value here and that the command does not need. `line` is its problem. Two are
    equal if they name the same variable or file, whatever key they are at."""

    reference: str
    line: str = field(compare=False)


class Secret:
    """A value that no repr, log or error shows. Only `reveal` returns it."""

    __slots__ = ("_file", "_missing", "_owner", "_value")
    __hash__ = None  # type: ignore[assignment]  # its value may change with `reload`

    def __init__(
        self, value: str, *, file: Path | None = None, owner: int | None = None, missing: Missing | None = None
    ) -> None:
        self._value = value
        self._file, self._owner = file, owner
        self._missing = missing

    @property
    def is_missing(self) -> bool:
        """True if its reference has no value here: `reveal` raises."""
        return self._missing is not None

    def reveal(self) -> str:
        """The value. Raises SettingsError for a value that is missing, because the command did not ask for it."""
        if self._missing is not None:
            raise SettingsError([self._missing.line])
        return self._value

    def reload(self) -> bool:
        """Read the secret's file again. True if its value has changed. False if the secret came from the environment,
        or if the file cannot be read, is empty, or can be read by other users: neither half a file nor another user's
        file may replace a secret that worked."""
        if self._file is None:
            return False
        try:
            found = Referenced.from_file(self._file, owner=self._owner)
        except (OSError, ValueError):
            return False
        if found.exposed:
            log.warning("a secret is not read again: the file %s %s", self._file, found.exposed)
            return False
        value = str(found)
        if not value or value == self._value:
            return False
        self._value = value
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if self._missing or other._missing:
            return self._missing == other._missing  # the same variable or file has the same value
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return "…"

    def __reduce__(self) -> Any:
        # A pickle would hold the secret unencrypted.
        raise TypeError("a secret cannot be pickled")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.accept, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def accept(cls, given: Any) -> "Secret":
        """The secret in a resolved value of the configuration. Raises ValueError, which shows no part of the value."""
        if isinstance(given, Secret):
            return given
        if isinstance(given, Missing):
            return cls("", missing=given)
        if isinstance(given, Referenced):
            return cls(str(given), file=given.file, owner=given.owner)
        if isinstance(given, str):
            raise ValueError(f"do not write a secret in the configuration; {HOW}")
        raise ValueError(f"expected a secret: {HOW}")


def credential(secret: Secret) -> Secret:
    # The value becomes a header: a line break in it would start another header.
    if not secret.is_missing and not re.fullmatch(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", secret.reveal()):
        raise ValueError("expected one line of ASCII, not empty and without spaces around it")
    return secret


def sender_key(secret: Secret) -> Secret:
    """The key that a sender of events or callbacks shows us. Raises ValueError for one that could be guessed."""
    credential(secret)
    if not secret.is_missing and len(secret.reveal()) < LEAST_KEY:
        prints = hint("keys", "; `onboard keys new --for events` prints such a key")
        raise ValueError(f"expected at least {LEAST_KEY} characters{prints}")
    return secret


def is_writable_by_others(found: os.stat_result) -> bool:
    """True for a file that other users of the machine, besides its group, can change."""
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & stat.S_IWOTH)


def is_of_another_user(found: os.stat_result) -> bool:
    """True for a file or a link that another user of the machine, besides root, owns: its owner can change it."""
    return found.st_uid != 0 and found.st_uid != os.geteuid()


def is_open_to_others(found: os.stat_result) -> bool:
    """True for a file that other users of the machine can read or change. Its group may read it."""
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & _OPEN)


def directory_doubt(path: Path, *, has_siblings: bool = False) -> str:
    """Why other users of the machine could put another file in the place of `path`; "" if they cannot. Who owns both
    the file and its directory is trusted already. `has_siblings`: other files are made beside it, so that the sticky
    bit of its directory does not help. Raises OSError."""
    found, owner = path.parent.stat(), path.stat().st_uid if path.exists() else os.geteuid()
    is_sticky = bool(found.st_mode & stat.S_ISVTX) and not has_siblings
    is_read_only = bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)  # so Kubernetes mounts a ConfigMap, with 0777
    if found.st_mode & stat.S_IWOTH and not is_sticky and not is_read_only:
        return "its directory can be changed by other users of this machine: use one that only its user can change"
    if is_of_another_user(found) and found.st_uid != owner:
        return "its directory is another user's, who can replace it: use one of its own user"
    return ""
