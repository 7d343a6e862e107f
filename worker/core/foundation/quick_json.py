"""JSON by orjson where it has the result of the standard library, and by the standard library elsewhere.

orjson takes a tenth of the time for what is usual: the bodies of calls and answers, and what is encrypted. It differs
in whole numbers beyond 64 bits, and it refuses some of what JSON allows (1e400, half of a surrogate pair).
"""

import json
from typing import Any

import orjson

# So that orjson refuses these, as `json` does.
_PASSED = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
# orjson reads a whole number beyond 64 bits as a float. The shortest has 19 digits. A regular expression would take
# longer to look for them than `json` takes to read all.
_LONG_NUMBER = b"0" * 19
_DIGITS_AS_0 = bytes(ord("0") if chr(each).isascii() and chr(each).isdigit() else ord(" ") for each in range(256))


def written(value: object, encoder: json.JSONEncoder) -> bytes:
    """The value in UTF-8. `encoder` writes what orjson does not. Raises what `encoder` raises."""
    try:
        return orjson.dumps(value, option=_PASSED)
    except TypeError:
        return encoder.encode(value).encode()


def read(raw: bytes, decoder: json.JSONDecoder) -> Any:
    """The value that all of `raw` is. `decoder` reads what orjson does not. Raises what `decoder` raises: ValueError,
    RecursionError."""
    if _LONG_NUMBER not in raw.translate(_DIGITS_AS_0):
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass  # the decoder decides
    return decoder.decode(raw.decode())
