"""Keeps kombu from unpacking what a stranger has packed."""

from typing import Any


class Undecoded:
    """For a class of kombu's messages: `body` stays as it came.

    kombu unpacks a body as soon as a header `compression` asks for it, without a bound: a few kilobytes can become
    gigabytes. It does not where it has noted errors before, so there is one, until the message is made.
    """

    errors: Any = ("not to be unpacked",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.errors = []
