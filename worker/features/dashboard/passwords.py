"""Hashes and checks passwords with Argon2id: each takes 64 MiB for a moment."""

from base64 import b64encode
from hashlib import sha256
from secrets import token_bytes

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from onboarding_worker.features.dashboard.users import User

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
    if len(password) > LONGEST_PASSWORD:
        return False
    try:
        PasswordHasher().verify(user.password.reveal() if user is not None else _NO_USER, password)
    except (VerificationError, InvalidHashError):
        return False
    return user is not None


def digest_of(name: str) -> str:
    """What a name is remembered by: strangers type addresses and passwords there."""
    return sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
