"""Bounds the memory that messages of other projects can take: they stay compressed, and few large ones come at once."""

from typing import Any

# How many bytes of messages are handled at once, however few messages they are: any producer may send messages of a
# hundred megabytes. RabbitMQ bounds only the number of messages that it delivers at once.
BYTES_AT_ONCE = 8_000_000


class Undecoded:
    """A mixin for a class of kombu's messages: `body` stays as it came.

    kombu decompresses a body as soon as a header `compression` asks for it, without a bound: a few kilobytes can
    become gigabytes. kombu does not decompress a message that has errors. So the message has an error until it is made.
    """

    errors: Any = ("not to be unpacked",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.errors = []
