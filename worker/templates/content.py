"""The words of a WhatsApp message: a template that Meta has approved, and the values of its placeholders. Pure.

    content: HX0123456789abcdef0123456789abcdef
    1: {{ name or "customer" }}
    2: {{ link_path }}

Meta lets a company begin no conversation with words of its own. So `whatsapp.txt` names the approved template by its
ContentSid (at Twilio), or by Meta's own name of it, and gives each placeholder's value on a line of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

MOST_VALUES = 100
# A ContentSid, or the form that Meta has for names of templates: the one is never taken for the other.
_SID = re.compile(r"HX[0-9a-fA-F]{32}|[a-z0-9_]{1,512}", re.ASCII)
_LINE = re.compile(r"([A-Za-z0-9_]{1,64})[ \t]*:(.*)", re.ASCII)
_NAME = "content"


class NotContent(ValueError):
    """The text names no approved template, or a value is missing. Its text holds no value."""


@dataclass(frozen=True, repr=False)
class Content:
    """`sid` is the approved template's id, `values` the texts of its placeholders by name. Personal: no repr."""

    sid: str
    values: Mapping[str, str]


def content_of(text: str) -> Content:
    """The content that the rendered text names. Raises NotContent.

    Twilio refuses an empty value, and one with a line break, a tab or many spaces (21656): spaces become single ones.
    """
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _LINE.fullmatch(line)
        if match is None:
            raise NotContent('expected lines such as "1: {{ name }}" after "content: HX…"')
        name, value = match[1], " ".join(match[2].split())
        if name in found:
            raise NotContent(f"{name} is there twice")
        if not value:
            raise NotContent(f'{name} is empty; say what to write then, as in {{{{ name or "customer" }}}}')
        found[name] = value
    sid = found.pop(_NAME, "")
    if not _SID.fullmatch(sid):
        raise NotContent('expected the line "content: HX…" with the ContentSid (or name) of an approved template')
    if len(found) > MOST_VALUES:
        raise NotContent(f"more than {MOST_VALUES} values")
    return Content(sid, found)
