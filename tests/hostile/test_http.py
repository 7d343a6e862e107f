"""Bytes that are no HTTP, or HTTP that two servers would read in two ways: refused, and the server goes on."""

from typing import Any

from tests.hostile.requests import GOOD, raw, status_of
from tests.hostile.served import say

LARGE = 300_000
CHUNKED = {"length": None, "Transfer_Encoding": "chunked"}


def chunked(body: bytes = GOOD, **more: Any) -> bytes:
    return raw(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n", **{**CHUNKED, **more})


CASES: dict[str, tuple[bytes, int]] = {
    # The same request, which is good: what follows is refused for what it changes.
    "nothing changed": (raw(), 202),
    "chunked": (chunked(), 202),
    # Two lengths
    "a length and chunks": (raw(b"0\r\n\r\n", Transfer_Encoding="chunked"), 400),
    "two lengths": (raw(more={"content-length": "5"}), 400),
    "the same length twice": (raw(more=[("Content-length", str(len(GOOD)))]), 400),
    "a length with a sign": (raw(length=f"+{len(GOOD)}"), 400),
    "a negative length": (raw(length="-1"), 400),
    "a length in hexadecimal": (raw(length=hex(len(GOOD))), 400),
    "a length with an underscore": (raw(length="1_0"), 400),
    "a length in Arabic digits": (raw(length="\u0661\u0662"), 400),
    "two lengths in one header": (raw(length=f"{len(GOOD)}, {len(GOOD)}"), 400),
    "a length beyond 64 bits": (raw(length="9" * 30), 400),
    # Chunks
    "an unknown coding": (raw(b"0\r\n\r\n", length=None, Transfer_Encoding="xchunked"), 400),
    "chunked that is not last": (raw(b"0\r\n\r\n", length=None, Transfer_Encoding="chunked, identity"), 400),
    "chunked twice": (raw(b"0\r\n\r\n", length=None, Transfer_Encoding="chunked, chunked"), 400),
    "a blank before the colon": (raw(b"0\r\n\r\n", length=None, head=b"Transfer-Encoding : chunked\r\n"), 400),
    "a vertical tab first": (raw(b"0\r\n\r\n", length=None, head=b"Transfer-Encoding: \x0bchunked\r\n"), 400),
    "a chunk's size that is none": (raw(b"zz\r\n{}\r\n0\r\n\r\n", **CHUNKED), 400),
    "a chunk's negative size": (raw(b"-1\r\n{}\r\n0\r\n\r\n", **CHUNKED), 400),
    "a chunk's size with 0x": (raw(b"0x2\r\n{}\r\n0\r\n\r\n", **CHUNKED), 400),
    "a chunk's size beyond 64 bits": (raw(b"f" * 30 + b"\r\n{}\r\n0\r\n\r\n", **CHUNKED), 400),
    "a chunk longer than its size": (raw(b"1\r\n{}\r\n0\r\n\r\n", **CHUNKED), 400),
    "chunks in HTTP 1.0": (raw(b"0\r\n\r\n", line=b"POST /events HTTP/1.0", **CHUNKED), 400),
    # Lines and headers
    "bare line feeds": (raw(known=False).replace(b"\r\n", b"\n"), 400),
    "a folded header": (raw(head=b"X-A: b\r\n c\r\n"), 400),
    "a NUL in a header": (raw(head=b"X-A: b\0c\r\n"), 400),
    "a carriage return in a header": (raw(head=b"X-A: b\rc\r\n"), 400),
    "a header without a name": (raw(head=b": b\r\n"), 400),
    "a header without a colon": (raw(head=b"X-A\r\n"), 400),
    "a blank in a header's name": (raw(head=b"X A: b\r\n"), 400),
    "bytes above ASCII in a header's name": (raw(head="X-Ä: b\r\n".encode()), 400),
    "a header of 100 KB": (raw(head=b"X-A: " + b"b" * 100_000 + b"\r\n"), 400),
    "5,000 headers": (raw(head=b"".join(b"X-%d: b\r\n" % number for number in range(5000))), 400),
    "no host": (raw(Host=None), 400),
    "two hosts": (raw(more={"host": "evil.example"}), 400),
    "no method": (raw(line=b" /events HTTP/1.1"), 400),
    "a method with a control sign": (raw(line=b"PO\x01ST /events HTTP/1.1"), 400),
    "a blank in the path": (raw(line=b"POST /events x HTTP/1.1"), 400),
    "a NUL in the path": (raw(line=b"POST /events\0 HTTP/1.1"), 400),
    "a path of 60 KB": (raw(line=b"POST /" + b"a" * 60_000 + b" HTTP/1.1"), 400),
    "no version": (raw(line=b"POST /events"), 505),
    "HTTP 0.9": (raw(line=b"POST /events HTTP/0.9"), 505),
    "HTTP 2": (raw(line=b"POST /events HTTP/2.0"), 505),
    "HTTP 1.2": (raw(line=b"POST /events HTTP/1.2"), 400),
    "HTTP in small letters": (raw(line=b"POST /events http/1.1"), 400),
    "a switch to HTTP 2": (raw(more={"Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}), 202),
    "a switch to WebSocket": (raw(more={"Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZQ=="}), 202),
    "an expectation that is none": (raw(Expect="200-ok"), 417),
    "HTTP 9": (raw(line=b"POST /events HTTP/9.9"), 400),
    "HTTP 2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS on a port without it": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)), 400),
    "bytes of nothing": (bytes(range(256)) + b"\r\n\r\n", 400),
    "SMTP": (b"EHLO example.com\r\nMAIL FROM:<a@example.com>\r\n\r\n", 400),
    # Sizes and codings of a body
    "a body of 300 KB": (raw(b" " * LARGE), 413),
    "a body of 10 GB, by its length": (raw(length="10000000000"), 413),
    "300 KB in chunks": (chunked(b" " * LARGE), 413),
    "a webhook of 2 MB": (raw(b" " * 2_000_000, path="/webhooks/kyc"), 413),
    "a webhook of 2 MB in chunks": (chunked(b" " * 2_000_000, path="/webhooks/kyc"), 413),
    "packed with gzip": (raw(Content_Encoding="gzip"), 415),
    "packed with deflate": (raw(Content_Encoding="deflate"), 415),
    "packed with what is unknown": (raw(Content_Encoding="br, zstd"), 415),
    "packed by the second header": (raw(more=[("Content-Encoding", "identity"), ("content-encoding", "gzip")]), 415),
    # Paths and methods
    "an unknown path": (raw(path="/admin"), 404),
    "the root": (raw(path="/"), 404),
    "a way up": (raw(path="/webhooks/../events"), 404),
    "a way up, encoded": (raw(path="/webhooks/..%2fevents"), 404),
    "a way up, encoded twice": (raw(path="/webhooks/%252e%252e%252fevents"), 404),
    "two slashes": (raw(path="//events"), 404),
    "a NUL, encoded": (raw(path="/events%00"), 404),
    "an account with a line break": (raw(path="/webhooks/kyc%0d%0aX-A:%20b"), 404),
    "an event's id that is none": (raw(b"", method="GET", path="/events/1%27%20OR%201=1--"), 404),
    "an event's id with a way up": (raw(b"", method="GET", path="/events/..%2f..%2fetc%2fpasswd"), 404),
    "an event's id of 5,000 signs": (raw(b"", method="GET", path="/events/" + "a" * 5000), 404),
    "another method": (raw(method="PUT"), 405),
    "TRACE": (raw(b"", method="TRACE"), 405),
    "DELETE of an event": (raw(b"", method="DELETE", path="/events/5f0c7a1e-0000-4000-8000-000000000000"), 405),
    "CONNECT": (raw(line=b"CONNECT evil.example:443 HTTP/1.1"), 404),
    "another method in a header": (raw(method="PUT", more={"X-HTTP-Method-Override": "POST"}), 405),
    "another path in a header": (raw(b"", method="GET", path="/x", more={"X-Original-URL": "/healthz"}), 404),
    "a proxy's address": (raw(line=b"POST http://evil.example/events HTTP/1.1"), 202),
}


def test_bytes_are_answered_with_the_status_of_their_fault(port: int, subtests):
    for what in CASES:
        with subtests.test(case=what):
            request, status = CASES[what]

            answer = say(port, request)

            assert status_of(answer) == status
            assert answer.count(b"\r\nDate:") == 1  # no second request was found in the rest
            assert status_of(say(port, raw())) == 202
