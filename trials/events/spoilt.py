"""Messages that are not events, of every kind that a producer may send by mistake or an attacker on purpose.

Each message has its own mark in its bytes, so that it is recognised in the dead queue.
"""

import base64
import gzip
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trials.events.event import REQUESTED, STRUCTURED, UPDATED, Event, Message, written

JSON = "application/json"
# No customer of a story has such an id, so that a spoilt message cannot be mistaken for an event.
MARK = "X-{:06}"
TOO_LARGE = 300_000  # bytes; docs/reference/bus.md allows 256 KiB
BOMB = 5_000_000  # bytes after decompression, from a few thousand


class Touch:
    """Creates a file when it is unpickled: the file proves it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _row(mark: str, **more: Any) -> dict[str, Any]:
    return {"customer_id": mark, "email": "c99999999@example.com", "country": "DE"} | more


def _event(mark: str, **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "type": REQUESTED, "source": "/crm", "id": mark, "data": _row(mark)} | more


def _structured(event: Any) -> Message:
    return Message(json.dumps(event).encode())


def _without(mark: str, name: str) -> Message:
    return _structured({key: value for key, value in _event(mark).items() if key != name})


def _data(mark: str, **more: Any) -> Message:
    return _structured(_event(mark, data=_row(mark, **more)))


def _binary(mark: str, headers: dict[str, Any], body: bytes | None = None) -> Message:
    given = {f"ce-{name}": value for name, value in _event(mark).items() if name != "data"} | headers
    kept = {name: value for name, value in given.items() if value is not None}
    return Message(body if body is not None else json.dumps(_row(mark)).encode(), JSON, kept)


def _of(kind: str, mark: str, data: dict[str, Any]) -> Message:
    return written(Event("/crm", mark, kind, data), "structured")


def _raw(text: str, content_type: str | None = STRUCTURED, encoding: str | None = None) -> Callable[[str], Message]:
    return lambda mark: Message(text.replace("MARK", mark).encode(), content_type, encoding=encoding)


SPOILT: dict[str, Callable[[str], Message]] = {
    "cut off": _raw('{"specversion": "1.0", "id": "MARK", "type"'),
    "no JSON": _raw("<event>MARK</event>", JSON),
    "XML": _raw("<event>MARK</event>", "application/xml"),
    "bytes": lambda mark: Message(b"\x00\xff\xfe\x80" + mark.encode(), "application/octet-stream"),
    "bytes called JSON": lambda mark: Message(b"\x80\x04\x95" + mark.encode(), JSON),
    "not UTF-8": lambda mark: Message(
        json.dumps(_event(mark, data=_row(mark, first_name="Zoë")), ensure_ascii=False).encode("latin-1")
    ),
    "UTF-16": lambda mark: Message(json.dumps(_event(mark)).encode("utf-16"), STRUCTURED, encoding="utf-16"),
    "a list": lambda mark: _structured([_event(mark)]),
    "a text": lambda mark: _structured(mark),
    "a batch": lambda mark: Message(json.dumps([_event(mark)]).encode(), "application/cloudevents-batch+json"),
    "specversion 0.3": lambda mark: _structured(_event(mark, specversion="0.3")),
    "specversion a number": lambda mark: _structured(_event(mark, specversion=1.0)),
    "no specversion": lambda mark: _without(mark, "specversion"),
    "no id": lambda mark: _without(mark, "id"),
    "empty id": lambda mark: _structured(_event(mark, id="")),
    "id a number": lambda mark: _structured(_event(mark, id=7)),
    "long id": lambda mark: _structured(_event(mark, id="i" * 5000)),
    "no source": lambda mark: _without(mark, "source"),
    "no type": lambda mark: _without(mark, "type"),
    "unknown type": lambda mark: _structured(_event(mark, type="onboarding.wished")),
    "no time": lambda mark: _structured(_event(mark, time="yesterday")),
    "time without a zone": lambda mark: _structured(_event(mark, time="2026-11-20 12:00")),
    "no data": lambda mark: _without(mark, "data"),
    "data a list": lambda mark: _structured(_event(mark, data=[_row(mark)])),
    "unknown column": lambda mark: _data(mark, emial="c99999998@example.com"),
    "bad email": lambda mark: _data(mark, email="c99999998@@example.com"),
    "bad phone": lambda mark: _data(mark, phone="+4479"),
    "no contact": lambda mark: _structured(_event(mark, data={"customer_id": mark, "country": "DE"})),
    "no customer": lambda mark: _structured(_event(mark, data={"email": "c99999998@example.com"})),
    "an address for an id": lambda mark: _structured(
        _event(mark, data=_row(mark) | {"customer_id": "c99999998@example.com"})
    ),
    "unknown account": lambda mark: _data(mark, account="nobody"),
    "bad wait": lambda mark: _data(mark, invite_after="half past"),
    "a wait too long": lambda mark: _data(mark, invite_after="3000 days"),
    "a wait below nothing": lambda mark: _data(mark, invite_after="-5 minutes"),
    "NUL": lambda mark: _data(mark, first_name="Ann\x00"),
    "NUL in the id": lambda mark: _structured(_event(mark, id="a\x00b" + mark)),
    "half a character": lambda mark: _data(mark, last_name="\ud800"),
    "NaN": _raw('{"specversion": "1.0", "type": "onboarding.requested", "source": "/crm", "id": "MARK", "data": NaN}'),
    "a key twice": _raw('{"specversion": "1.0", "specversion": "1.0", "id": "MARK", "source": "/crm"}'),
    "deep": lambda mark: Message(f'{{"id": "{mark}", "data": '.encode() + b"[" * 60_000 + b"]" * 60_000 + b"}"),
    "a long number": lambda mark: Message(
        json.dumps(_event(mark)).replace('"DE"', "9" * 20_000).encode(),
    ),
    "too large": lambda mark: _data(mark, address="a" * TOO_LARGE),
    "update of an unknown column": lambda mark: _of(UPDATED, mark, {"customer_id": mark, "emial": "x"}),
    "update to a bad email": lambda mark: _of(UPDATED, mark, {"customer_id": mark, "email": "nobody"}),
    "erasure of nobody": lambda mark: _structured(_event(mark, type="customer.erased", data={})),
    "cancellation of nobody": lambda mark: _structured(_event(mark, type="onboarding.cancelled", data={})),
    "binary without id": lambda mark: _binary(mark, {"ce-id": None}),
    "binary of another version": lambda mark: _binary(mark, {"ce-specversion": "2.0"}),
    "binary of another content": lambda mark: _binary(mark, {}, b"not JSON " + mark.encode()),
    "packed": lambda mark: Message(
        gzip.compress(mark.encode() + bytes(BOMB)), STRUCTURED, {"compression": "application/x-gzip"}
    ),
    "YAML": _raw("!!python/object/apply:os.abort []  # MARK", "application/x-yaml"),
}


def unpickled(mark: str, trap: Path) -> Message:
    """A pickle that creates the file `trap` when it is unpickled."""
    return Message(pickle.dumps((Touch(trap), mark), protocol=2), "application/x-python-serialize", encoding="binary")


def _enveloped(mark: str, **more: Any) -> str:
    """An entry in kombu's envelope for Redis."""
    given = {
        "body": base64.b64encode(json.dumps(_event(mark)).encode()).decode(),
        "content-type": STRUCTURED,
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {
            "body_encoding": "base64",
            "delivery_mode": 2,
            "priority": 0,
            "delivery_tag": mark,
            "delivery_info": {"exchange": "", "routing_key": "onboarding.requests"},
        },
    }
    return json.dumps(given | more)


# Entries of a Redis list from a producer without kombu's envelope, or with a wrong one.
BARE: dict[str, Callable[[str], str | bytes]] = {
    "a word": lambda mark: f"hello {mark}",
    "bytes": lambda mark: b"\xff\xfe\x00" + mark.encode(),
    "an event itself": lambda mark: json.dumps(_event(mark)),
    "an empty object": lambda mark: "{}" + " " * int(mark[2:]),
    "null": lambda mark: "null" + " " * int(mark[2:]),
    "a number": lambda mark: str(10**9 + int(mark[2:])),
    "a list": lambda mark: json.dumps([mark]),
    "no body": lambda mark: json.dumps({"text": mark, "headers": {}, "properties": {}}),
    "a body only": lambda mark: json.dumps({"body": [mark]}),
    "no base64": lambda mark: _enveloped(mark, body=f"!{mark}"),
    "properties a list": lambda mark: _enveloped(mark, properties=[mark]),
    "headers a list": lambda mark: _enveloped(mark, headers=[mark]),
    "no delivery tag": lambda mark: _enveloped(
        mark, body=f"!{mark}", properties={"body_encoding": "base64", "delivery_info": {}}
    ),
    "deep": lambda mark: f'{{"body": "{mark}", "headers": ' + "[" * 60_000 + "]" * 60_000 + "}",
}


def bare(text: str | bytes) -> Message:
    return Message(text if isinstance(text, bytes) else text.encode(), None, bare=True)


def spoilt(number: int, trap: Path, *, envelopes: bool) -> Iterator[tuple[str, Message]]:
    """`number` such messages with their kinds, all kinds in turn. `envelopes`: also bare entries of a Redis list."""
    kinds: list[tuple[str, Callable[[str], Message]]] = [
        ("a pickle", lambda mark: unpickled(mark, trap)),
        ("a pickle called JSON", lambda mark: Message(unpickled(mark, trap).body, JSON, encoding="binary")),
        *SPOILT.items(),
    ]
    if envelopes:
        kinds += [(f"bare: {name}", _bare_of(make)) for name, make in BARE.items()]
    for index in range(number):
        name, make = kinds[index % len(kinds)]
        yield name, make(MARK.format(index))


def _bare_of(make: Callable[[str], str | bytes]) -> Callable[[str], Message]:
    return lambda mark: bare(make(mark))
