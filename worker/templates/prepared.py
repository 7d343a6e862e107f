"""Texts that are rendered once for many customers: only the personal values are filled in for each.

Of a list, most messages differ in a few values that the template only shows, or asks whether there are any. Such a
template is rendered with a mark in place of each of these values, and the result is kept by all other values. A
template that does more with one of them, such as `{{ name|upper }}`, is rendered for each message.
"""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes
from markupsafe import escape

from worker.templates.answer_values import VENDOR

# The variables that differ from message to message.
PERSONAL = ("first_name", "last_name", "name", "company_name", "link", "link_path", "digits")
_PERSONAL = frozenset(PERSONAL)
# Characters for private use: `values.plain` leaves them out of each value, and no link has them.
_MARK = re.compile("\ue000(" + "|".join(PERSONAL) + ")\ue001")


@dataclass(frozen=True)
class Prepared:
    """A rendered part: its text in pieces. Every second piece is the name of a personal value."""

    pieces: Sequence[str]
    is_html: bool

    @classmethod
    def of(cls, text: str, *, is_html: bool) -> "Prepared":
        """`text` was rendered with `marked` values."""
        return cls(_MARK.split(text), is_html)

    def filled(self, values: Mapping[str, Any]) -> str:
        text = list(self.pieces)
        # HTML is escaped as Jinja's autoescape does.
        text[1::2] = [str(escape(values[name]) if self.is_html else values[name]) for name in text[1::2]]
        return "".join(text)


def marked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with a mark for each personal one. An empty one stays empty: templates ask for that."""
    return {**values, **{name: f"\ue000{name}\ue001" for name in PERSONAL if values[name]}}


def key_of(values: Mapping[str, Any]) -> tuple[Hashable, ...]:
    """What a text with marks depends on: all other values, and which personal values are empty."""
    others = [value for name, value in values.items() if name not in _PERSONAL and name != VENDOR]
    empty = [not values[name] for name in PERSONAL]
    return *others, *empty, *values[VENDOR].items()


def only_shows(tree: nodes.Template) -> bool:
    """True if the file shows personal values, or asks whether there are any, and does nothing else with them."""
    return _only_shown(tree, may_be_shown=False)


def _only_shown(node: nodes.Node, *, may_be_shown: bool) -> bool:
    match node:
        case nodes.Name():
            return may_be_shown or node.name not in PERSONAL
        case nodes.If() | nodes.CondExpr():
            of_result = isinstance(node, nodes.CondExpr) and may_be_shown
            rest = [child for child in node.iter_child_nodes() if child is not node.test]
            return _only_shown(node.test, may_be_shown=True) and _all(rest, may_be_shown=of_result)
        case nodes.Output():
            return _all(node.nodes, may_be_shown=True)
        case nodes.And() | nodes.Or() | nodes.Not():
            return _all(node.iter_child_nodes(), may_be_shown=may_be_shown)
        case _:
            return _all(node.iter_child_nodes(), may_be_shown=False)


def _all(children: Iterable[nodes.Node], *, may_be_shown: bool) -> bool:
    return all(_only_shown(child, may_be_shown=may_be_shown) for child in children)
