"""XML from strangers, parsed as it is read: no entities, and bounds for nesting, tags, attributes and names."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol
from xml.parsers import expat

from worker.domain.intake.lines import ListRefused

CHUNK = 1 << 16
# The parser keeps a tag in memory until its end, and the names of all open ones. Real parts are 12 levels deep, and
# their longest tag is the root's, with its namespaces.
LONGEST_TAG = 1 << 20
MOST_LEVELS = 64
# Characters of all different names together: the parser keeps each name to its end, and so does Python. Real parts have
# some hundred names.
MOST_OF_NAMES = 1 << 18
# The encodings that the parser has by itself. Spreadsheets write the first, and may write UTF-16.
_OF_THE_PARSER = frozenset({"UTF-8", "UTF-16", "UTF-16LE", "UTF-16BE", "ISO-8859-1", "US-ASCII"})
# Encodings of one byte for each character, which other programs write. The parser gets a table of 256 characters from
# Python, once; a byte without a character is an error.
_OF_ONE_BYTE = frozenset(
    {f"WINDOWS-{number}" for number in range(1250, 1259)}
    | {f"ISO-8859-{part}" for part in range(2, 17) if part != 12}  # there is no part 12
)
_ENCODINGS = _OF_THE_PARSER | _OF_ONE_BYTE

Start = Callable[[str, dict[str, str]], None]
End = Callable[[str], None]
Text = Callable[[str], None]


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class BrokenXml(Exception):
    """The text is no XML, or no XML that is read here. `reason` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parsed(stream: Stream, start: Start, end: End, text: Text) -> Iterator[None]:
    """Parse, and stop after each chunk, so that the caller can use what its handlers have found.

    Names are those of the namespace, a space, and the local name. Raises BrokenXml, and what the stream raises.
    """
    names: dict[str, Any] = {}  # of elements, attributes and namespaces
    parser = expat.ParserCreate(namespace_separator=" ", intern=names)
    parser.buffer_text = True
    parser.XmlDeclHandler = _refuse_encoding
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartNamespaceDeclHandler = _note_names
    depth = 0

    def opened(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_LEVELS:
            raise BrokenXml("its XML is nested too deep")
        start(name, attributes)

    def closed(name: str) -> None:
        nonlocal depth
        depth -= 1
        end(name)

    parser.StartElementHandler = opened
    parser.EndElementHandler = closed
    parser.CharacterDataHandler = text
    given = known = of_names = 0
    while True:
        chunk = stream.read(CHUNK)
        given += len(chunk)
        try:
            parser.Parse(chunk, not chunk)
        except expat.ExpatError:
            raise BrokenXml("its XML is damaged") from None
        of_names += sum(len(name or "") for name in islice(names, known, None))  # no prefix is None
        known = len(names)
        if of_names > MOST_OF_NAMES:
            raise BrokenXml("its XML has too many different names")
        if not chunk:
            yield
            return
        if given - max(parser.CurrentByteIndex, 0) > LONGEST_TAG + CHUNK:
            raise BrokenXml("its XML has a tag of more than 1 MB")
        yield


def _nothing(_found: str) -> None:
    pass


def read_whole(stream: Stream, what: str, start: Start, end: End = _nothing, text: Text = _nothing) -> None:
    """Parse to the end. Raises ListRefused for what `parsed` refuses; `what` is the file, as messages name it."""
    try:
        for _ in parsed(stream, start, end, text):
            pass
    except BrokenXml as error:
        raise ListRefused([f"{what} is refused: {error.reason}; save it again in a spreadsheet"]) from None


def _note_names(_prefix: str, _address: str) -> None:
    """Nothing is to be done: the parser adds both to its names for a handler alone."""


def _refuse_encoding(_version: str, encoding: str | None, _standalone: int) -> None:
    # Python looks for a codec of any other name, and raises many kinds of exceptions for what is none.
    if encoding is not None and encoding.upper() not in _ENCODINGS:
        raise BrokenXml("its XML is in an encoding that is not read here")


def _refuse_doctype(*_declared: object) -> None:
    # Entities, which can grow a few bytes to gigabytes, exist only in a document type declaration.
    raise BrokenXml("its XML declares a document type, which no spreadsheet writes")
