"""Bounds the memory that messages of strangers can take: they stay compressed, and few large ones come at once."""

from typing import Any, NoReturn

from kombu import compression

# How many bytes of messages are handled at once, however few messages they are: any producer may send messages of a
# hundred megabytes. RabbitMQ bounds only the number of messages that it delivers at once.
BYTES_AT_ONCE = 8_000_000


def never_unpack() -> None:
    """Have kombu unpack no message in this process.

    It decompresses a body as soon as a header `compression` asks for it, without a bound: a few kilobytes can become
    gigabytes. Such a message has an error now, and its body stays as it came.
    """
    for name in compression.encoders():
        encoder, kind = compression.get_encoder(name)
        compression.register(encoder, _refused, kind)


def _refused(_body: Any) -> NoReturn:
    raise ValueError("compressed messages are not unpacked")
