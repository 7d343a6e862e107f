"""The person who runs this process, as the operating system knows them: never as the environment says.

A user may set LOGNAME and SUDO_UID as they like. The real user id cannot be chosen. The login's user id (Linux) stays
the same through sudo and su, and only root can change it. So SUDO_UID counts only for a process of root, where sudo
has set it, and only without a login's user id.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LOGIN_UID = Path("/proc/self/loginuid")
NO_LOGIN = 2**32 - 1  # what Linux writes for a process that no login has started
ROOT = 0


@dataclass(frozen=True)
class OsUser:
    """`name` is who acted, for people. `full` adds the user ids, the account that was used, and the host."""

    name: str
    full: str


@cache
def os_user() -> OsUser:
    host = socket.gethostname()[:60]
    login = caller_of(os.getuid(), _login_uid(), os.environ.get("SUDO_UID", ""))
    return described(os.getuid(), login, host, _name_of)


def caller_of(uid: int, login_uid: int | None, sudo_uid: str) -> int:
    """The user id of the person behind a process of the user `uid`."""
    if login_uid is not None:
        return login_uid
    return int(sudo_uid) if uid == ROOT and sudo_uid.isascii() and sudo_uid.isdecimal() else uid


def described(uid: int, caller: int, host: str, name_of: Callable[[int], str]) -> OsUser:
    """`name_of` returns the name of a user id; "" if it has none, as in many containers."""
    name = name_of(caller) or f"user {caller}"
    acting = "" if caller == uid else f" as {_with_number(uid, name_of)}"
    return OsUser(name, f"{_with_number(caller, name_of)}{acting} at {host}")


def _with_number(uid: int, name_of: Callable[[int], str]) -> str:
    name = name_of(uid)
    return f"{name} ({uid})" if name else f"user {uid}"


def _login_uid() -> int | None:
    try:
        found = int(LOGIN_UID.read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if found == NO_LOGIN else found


def _name_of(uid: int) -> str:
    import pwd  # imported here: --help needs no name

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
