"""Makes the evidence: records in, one file out, as a stream."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

from worker.domain.evidence import container, readme
from worker.domain.evidence.chain import Chain
from worker.domain.evidence.manifest import Content, content_digest, line_digests, manifest_of
from worker.domain.evidence.records import schema
from worker.domain.evidence.summary import COLUMNS, Totals, csv_line, line_of
from worker.foundation.signing import SigningKey

PART_BYTES = 1 << 30  # a part ends after so many bytes: no file in it is too large for a ZIP file


@dataclass(frozen=True)
class Made:
    """`content`: the digest of all that the evidence says. `head`: the last hash of the chain of its records."""

    customers: int
    records: int
    head: str
    content: str
    key_id: str


def make(
    out: IO[bytes], records: Iterable[Mapping[str, Any]], key: SigningKey, *, part_bytes: int = PART_BYTES
) -> Made:
    """Write the evidence of these records to `out`, which can be sought in. Raises container.Refused if too large.

    The same records give the same bytes, with the same release of zlib; the same digests with any.
    """
    writer, chain, totals = container.Writer(out), Chain(), Totals()
    short = {container.README: readme.TEXT.encode(), container.SCHEMA: _indented(schema())}
    for name, content in short.items():
        writer.add(name, content)
    first: Mapping[str, Any] = {}
    customers = 0
    with TemporaryFile() as table:
        table.write(csv_line(COLUMNS))

        def lines() -> Iterator[bytes]:
            nonlocal first, customers
            for record in records:
                first = first or record
                customers += record["type"] == "customer"
                totals.add(record)
                if (line := line_of(record)) is not None:
                    table.write(line)
                yield chain.line(record)

        rest = lines()
        for number, part in enumerate(_parts(rest, part_bytes), start=1):
            writer.stream(container.part_name(number), part)
        table.seek(0)
        writer.stream(container.CSV, iter(lambda: table.read(container.CHUNK), b""))
    short[container.HTML] = totals.page(records=chain.number, head=chain.head)
    writer.add(container.HTML, short[container.HTML])
    digests = {name: line_digests(content) for name, content in short.items()}
    facts = Content(first["batch"], first["name"], chain.number, chain.head, key.public.id)
    signed = list(writer.members)
    manifest = manifest_of(facts, signed, digests)
    writer.add(container.MANIFEST, manifest)
    writer.add(container.SIGNATURE, key.sign(manifest))
    writer.add(container.KEY, key.public.pem)
    writer.close()
    return Made(customers, chain.number, chain.head, content_digest(signed), key.public.id)


def _parts(lines: Iterator[bytes], part_bytes: int) -> Iterator[Iterator[bytes]]:
    """The lines in parts. Each part is read to its end before the next one is asked for."""
    waiting = next(lines, None)

    def part() -> Iterator[bytes]:
        nonlocal waiting
        size = 0
        while waiting is not None and (not size or size + len(waiting) <= part_bytes):
            size += len(waiting)
            yield waiting
            waiting = next(lines, None)

    while waiting is not None:
        yield part()


def _indented(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"
