"""Stops kombu from decompressing a message that another project has compressed."""

from typing import Any


class Undecoded:
    """A mixin for a class of kombu's messages: `body` stays as it came.

    kombu decompresses a body as soon as a header `compression` asks for it, without a bound: a few kilobytes can
    become gigabytes. kombu does not decompress a message that has errors. So the message has an error until it is made.
    """

    errors: Any = ("not to be unpacked",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.errors = []
