"""Where a leak could be, and what is looked for: each form of what strangers wrote, in every place that keeps bytes."""

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pika
import sqlalchemy as sa

Found = Iterator[tuple[str, bytes]]  # a place's part, and what is in it


def forms(word: str) -> set[bytes]:
    """The word as it may have been written: in lower case, escaped, encoded."""
    raw = word.encode()
    packed = {base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)}
    plain = {
        raw,
        quote(word, safe="").encode(),
        json.dumps(word)[1:-1].encode(),
        raw.hex().encode(),
        word.encode("utf-16-le"),
    }
    return {form.lower() for form in plain} | {form for form in packed if len(form) >= 8}


def hits(parts: Found, words: Iterable[str]) -> list[str]:
    """The parts that hold one of the words, with the word's number: a message must not repeat what leaked."""
    looked_for = [(number, form) for number, word in enumerate(words) for form in forms(word)]
    return sorted(
        {
            f"{part}: word {number}"
            for part, content in parts
            for lowered in (content.lower(),)
            for number, form in looked_for
            if form in content or form in lowered
        }
    )


def columns(url: str) -> Found:
    """Every column of every table."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        for table in sa.inspect(connection).get_table_names():
            rows = connection.exec_driver_sql(f'SELECT * FROM "{table}"')  # noqa: S608 -- the database's own name
            names, found = list(rows.keys()), rows.all()
            for name, values in zip(names, zip(*found, strict=True), strict=True) if found else ():
                yield f"{table}.{name}", b"\n".join(bytes_of(value) for value in values)


def bytes_of(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def files(folder: Path, *, but: Iterable[str]) -> Found:
    """Every file, the database's own and its write-ahead log among them, but those that the test wrote."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in set(but) and path.parent.name != "secrets":
            yield path.name, path.read_bytes()


def keys(client: Any) -> Found:
    """Every key of a Redis, with its name."""
    readers = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"stream": client.xrange,
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    for key in client.scan_iter("*"):
        content = readers[client.type(key)](key)
        yield (
            key.decode("utf-8", "replace"),
            key + repr(content).encode() + (content if isinstance(content, bytes) else b""),
        )


def messages(url: str, queues: Iterable[str]) -> Found:
    """Every message in these queues of RabbitMQ, with its properties."""
    with closing(pika.BlockingConnection(pika.URLParameters(url.removesuffix("//") + "/%2F"))) as connection:
        channel = connection.channel()
        for queue in queues:
            number = 0
            while (found := channel.basic_get(queue))[0] is not None:
                number += 1
                yield f"{queue} {number}", found[2] + repr(found[:2]).encode()
