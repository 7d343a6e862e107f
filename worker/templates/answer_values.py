"""What a provider's answer has besides the link, in a template: `digits`, `provider` and `vendor.NAME`.

`vendor.NAME` has the only dot in the template language. What follows it is a key of a mapping, never an attribute of
an object. The vendor chooses the values, and the message asks its reader for trust: so only short values without an
address get in. An address from an answer is sent as the account's `link` alone, whose host is checked.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from jinja2 import nodes

from worker.core.model.sessions import Opening
from worker.templates.names import folded

VENDOR = "vendor"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
VALUE_LENGTH = 200  # nobody reads a longer one; a part of it would be a wrong code
# Mail programs make links of these, and a template may put a value into an `href`.
ADDRESS_IN_VALUE = re.compile(r"://|@|www\.|\w\.[^\W\d_]{2}|^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def shown(text: str) -> str:
    """A value, cleaned to one line, as a message may have it; "" for one that it may not have."""
    return "" if len(text) > VALUE_LENGTH or ADDRESS_IN_VALUE.search(folded(text)) else text


def name_of(node: nodes.Node) -> str | None:
    """NAME, if the node is `vendor.NAME` or `vendor["NAME"]`; else None."""
    if not isinstance(node, (nodes.Getattr, nodes.Getitem)):
        return None
    if not isinstance(node.node, nodes.Name) or node.node.name != VENDOR or node.ctx != "load":
        return None
    name: object
    if isinstance(node, nodes.Getattr):
        name = node.attr
    else:
        name = node.arg.value if isinstance(node.arg, nodes.Const) else None
    return name if isinstance(name, str) and NAME.fullmatch(name) else None


def sample_of(names: Collection[str]) -> Opening:
    """What an answer may have for these names, as a template spells them, for a message to try them with."""
    keys = [name.removeprefix(VENDOR).strip('.[]"') for name in names if name.startswith(VENDOR)]
    return Opening("", "0123456", "Vendor", dict.fromkeys(keys, "A1B2C3D4"))


def value_of(values: object, name: object) -> object:
    """What `vendor.NAME` is: "" where the answer has no such value."""
    return values.get(name, "") if isinstance(values, Mapping) else ""


def untested(tree: nodes.Template) -> dict[str, int]:
    """The answer's values that are written without a word for answers that lack them, each with its first line."""
    tested = {name for part in _tests(tree) for name, _ in names_in(part)}
    return {name: line for name, line in names_in(tree) if name not in tested}


def names_in(node: nodes.Node) -> list[tuple[str, int]]:
    """The answer's values that are used here, as a template spells them, each with its lines, the last first."""
    found = []
    for inner in (node, *node.find_all((nodes.Getattr, nodes.Getitem, nodes.Name))):
        if isinstance(inner, nodes.Name) and inner.name in ("digits", "provider"):
            found.append((inner.name, inner.lineno))
        elif name := name_of(inner):
            found.append((f"{VENDOR}.{name}" if name.isidentifier() else f'{VENDOR}["{name}"]', inner.lineno))
    return sorted(found, key=lambda one: -one[1])


def _tests(tree: nodes.Template) -> Iterator[nodes.Node]:
    yield from (node.test for node in tree.find_all(nodes.If))
    yield from (node.test for node in tree.find_all(nodes.CondExpr))
    for filter_ in tree.find_all(nodes.Filter):
        if filter_.name in ("d", "default") and filter_.node is not None:
            yield filter_.node
