"""Recognises a list by its content."""

import hashlib
import os
from os import PathLike

from worker.lists.formats.opening import Content

_CHUNK = 1 << 20


def content_digest(content: Content) -> str:
    """SHA-256 in hex of all bytes of a file or a seekable stream. Raises OSError when they cannot be read."""
    if isinstance(content, str | PathLike):
        with open(content, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    before = content.tell()
    content.seek(0, os.SEEK_SET)
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    content.seek(before)
    return digest.hexdigest()
