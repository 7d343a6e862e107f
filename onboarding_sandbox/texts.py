"""The accepted text and WhatsApp messages: what the phones of invented customers would show."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from onboarding_sandbox.wire import WHATSAPP

ALPHABET = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
ESCAPED = set("\f^{}\\[~]|€")


@dataclass(frozen=True, repr=False)
class Text:
    """One message. `sender` is a number or a messaging service; `validity` is in seconds. `content` is the ContentSid
    of a WhatsApp message, whose `body` has the values of its placeholders."""

    n: int  # from 1
    at: datetime  # aware UTC
    sid: str
    to: str
    sender: str
    body: str
    validity: int | None
    callback: str | None
    content: str | None = None

    @property
    def segments(self) -> int:
        """How many segments the text is sent and charged as."""
        return 1 if self.by_whatsapp else count_segments(self.body)

    @property
    def by_whatsapp(self) -> bool:
        return self.to.startswith(WHATSAPP)

    def facts(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "at": self.at.isoformat(),
            "sid": self.sid,
            "from": self.sender,
            "to": self.to,
            "body": self.body,
            "segments": self.segments,
            "validity": self.validity,
            "callback": self.callback,
            **({"content": self.content} if self.content else {}),
        }


def count_segments(body: str) -> int:
    """Count segments: of 160 or 153 septets if the phone alphabet has all letters, else of 70 or 67 UTF-16 units."""
    plain = not set(body) - ALPHABET - ESCAPED
    units = [("\x1b" + letter) if plain and letter in ESCAPED else letter for letter in body]
    sizes = [len(unit) if plain else len(unit.encode("utf-16-be")) // 2 for unit in units]
    if sum(sizes) <= (160 if plain else 70):
        return 1
    room = 153 if plain else 67
    parts = [0]
    for size in sizes:
        if parts[-1] + size > room:
            parts.append(0)
        parts[-1] += size
    return len(parts)
