"""Hashes and checks passwords with Argon2id, and never many at a time: each takes 64 MiB for a moment."""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from secrets import token_bytes
from typing import Any
from weakref import WeakValueDictionary

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from onboarding_worker.features.dashboard.users import User
from onboarding_worker.web.turns import AtOnce, InThread, Turns

AT_ONCE = 2
MOST_OF_MACHINE = 4  # are checked, or wait for it, at the same time
# For one user: guesses come one after the other, each after the delay of the last. As many wait of one machine.
MOST_FOR_ONE = 3
LONGEST_PASSWORD = 1000  # characters: a longer one is not hashed


def _random_hash() -> str:
    """What has the form of a hash and is none: no password has it. To hash one would cost each start 64 MiB."""
    hasher = PasswordHasher()
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    sizes = hasher.salt_len, hasher.hash_len
    salt, digest = (b64encode(token_bytes(size)).decode().rstrip("=") for size in sizes)
    return f"$argon2id$v=19${costs}${salt}${digest}"


# For names that no user has: the answer takes as long as for a known name.
_NO_USER = _random_hash()


def hash_password(password: str) -> str:
    return PasswordHasher().hash(password)


def is_password(password: str, user: User | None) -> bool:
    """Blocking, for about 50 ms. None: no user has the name; the answer is False."""
    try:
        PasswordHasher().verify(user.password.reveal() if user is not None else _NO_USER, password)
    except (VerificationError, InvalidHashError):
        return False
    return user is not None


def digest_of(name: str) -> str:
    """What a name is remembered by: strangers type addresses and passwords there."""
    return sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


class PasswordChecks:
    """Belongs to one loop."""

    def __init__(self, in_thread: InThread, check: Callable[[str, User | None], bool] = is_password) -> None:
        self._in_thread, self._check = in_thread, check
        self._free = Turns(AT_ONCE)
        self._checked = AtOnce(MOST_OF_MACHINE)  # of a machine; those who are refused and only wait have no place here
        self._waiting = AtOnce(MOST_FOR_ONE)  # of a user and a machine
        # By user, while they are waited for; first come, first served.
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def fits(self, name: str, password: str, user: User | None, wait: Callable[[], Any], machine: str) -> bool:
        """Whether the user has this password. `wait()` delays a wrong one, as often as it is wrong; meanwhile the same
        name cannot be tried often. Raises TooMany, where too many wait of this machine: who guesses from another one,
        at this name or at others, makes its user wait for a turn, and keeps them out of nothing."""
        who = digest_of(name)
        with self._waiting.one_of((who, machine)):
            turns = self._turns.setdefault(who, asyncio.Semaphore(MOST_FOR_ONE))
            async with turns:
                fits = len(password) <= LONGEST_PASSWORD and await self._is_password(password, user, machine)
                if not fits:
                    await wait()
                return fits

    async def _is_password(self, password: str, user: User | None, machine: str) -> bool:
        with self._checked.one_of(machine):
            async with self._free.turn(machine):
                return bool(await self._in_thread(self._check, password, user))
