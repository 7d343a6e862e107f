"""Knowing a list again by its content."""

import hashlib
from os import PathLike


def content_digest(path: str | PathLike[str]) -> str:
    """SHA-256 of the file's bytes, in hex. Raises OSError where the file cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
