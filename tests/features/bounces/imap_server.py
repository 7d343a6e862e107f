"""An IMAP server for one mailbox, just large enough for a client that reads bounces. In a thread, on 127.0.0.1."""

import base64
import re
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Mailbox:
    """The mails by number, and their flags. `faults`: commands that end the connection, once each.

    `refused` and `empty`: numbers of mails that FETCH gets a NO for, or nothing of. `announced`: how many bytes FETCH
    says that a mail has; None: as many as it has. `chatter`: what is said before each answer. `drips`: commands that
    are answered byte by byte, without an end, once each; GREETING for the first line. `slow`: seconds before a mail."""

    def __init__(self, *mails: bytes) -> None:
        self.mails = dict(enumerate(mails, start=1))
        self.flags: dict[int, set[str]] = {number: set() for number in self.mails}
        self.password, self.faults, self.commands = "pä ss", set[str](), list[str]()
        self.refused, self.empty = set[int](), set[int]()
        self.announced: int | None = None
        self.chatter: list[bytes] = []
        self.drips, self.slow = set[str](), 0.0

    @property
    def unread(self) -> list[int]:
        return [number for number in self.mails if "\\Seen" not in self.flags[number]]


class _Talk(socketserver.StreamRequestHandler):
    server: "_Server"

    def say(self, *lines: bytes) -> None:
        self.wfile.write(b"".join(line + b"\r\n" for line in lines))

    def drip(self) -> None:
        with suppress(OSError):
            self.wfile.write(b"* OK ")
            while True:
                self.wfile.write(b"a")
                time.sleep(0.02)

    def handle(self) -> None:
        box = self.server.box
        if "GREETING" in box.drips:
            box.drips.remove("GREETING")
            return self.drip()
        self.say(b"* OK ready")
        for raw in self.rfile:
            tag, _, command = raw.decode().strip().partition(" ")
            box.commands.append(command.split("AUTHENTICATE", 1)[0] or "AUTHENTICATE")
            fault = next((fault for fault in box.faults if fault in command), None)
            if fault:
                box.faults.remove(fault)
                return
            drips = next((one for one in box.drips if one in command), None)
            if drips:
                box.drips.remove(drips)
                return self.drip()
            if not self.answer(box, tag.encode(), command):
                return

    def answer(self, box: Mailbox, tag: bytes, command: str) -> bool:
        words = command.upper().split()
        self.say(*box.chatter)
        if words[0] == "CAPABILITY":
            self.say(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN UIDPLUS")
        elif words[0] == "AUTHENTICATE":
            self.say(b"+ ")
            given = base64.b64decode(self.rfile.readline()).decode()
            if given != f"\0bounces\0{box.password}":
                self.say(tag + b" NO [AUTHENTICATIONFAILED] bounces is not allowed in")
                return True
        elif words[0] == "SELECT":
            self.say(f"* {len(box.mails)} EXISTS".encode())
        elif words[:2] == ["UID", "SEARCH"]:
            self.say(" ".join(["* SEARCH", *map(str, box.unread)]).encode())
        elif words[:2] == ["UID", "FETCH"]:
            number, most = int(words[2]), int(re.findall(r"<0\.(\d+)>", command)[0])
            if number in box.refused:
                self.say(tag + b" NO [SERVERBUG] the mail of ona@example.com is damaged")
                return True
            content = box.mails[number][:most]
            time.sleep(box.slow)
            if number not in box.empty:
                head = f"* 1 FETCH (UID {number} BODY[]<0> {{{box.announced or len(content)}}}\r\n".encode()
                self.wfile.write(head + content + b")\r\n")
        elif words[:2] == ["UID", "STORE"]:
            for number in map(int, words[2].split(",")):
                box.flags[number] |= set(re.findall(r"\\\w+", command))
        elif "EXPUNGE" in words:
            for number in [number for number, flags in box.flags.items() if "\\Deleted" in flags]:
                box.mails.pop(number, None)
        self.say(tag + b" OK done")
        return words[0] != "LOGOUT"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True

    def __init__(self, box: Mailbox, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.box = box
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """A client that ends the connection is no error."""


@contextmanager
def serving(box: Mailbox, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server with this mailbox."""
    with _Server(box, context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
