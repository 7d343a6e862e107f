"""Our packages use other packages through the names that they give out: no `_name` of theirs, in whatever way."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pkgutil import resolve_name

import pytest

from tests.suite.packages import CODE, PACKAGES, ROOT

# What is documented although it begins with `_`: of named tuples, of rows of SQLAlchemy, of os.
DOCUMENTED = {"_make", "_replace", "_asdict", "_fields", "_mapping", "_exit"}
EXCEPTIONS = {"onboarding_sandbox/mailbox.py": "the sandbox cuts off a conversation of aiosmtpd that hangs"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name.strip("_") != "" and name not in DOCUMENTED


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in (*PACKAGES, "__future__")


def imported(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """What the names of the file stand for: `aiohttp.web.Response`. Only of other packages."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
    return {name: place for name, place in found.items() if not is_ours(place)}


def defined(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that this code gives to functions, classes, variables and attributes."""
    names = set()
    for node in nodes:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
    return names


def base_of(node: ast.expr, names: dict[str, str]) -> object:
    """The class of another package that a class is derived from; None: it is none of those."""
    written = ast.unparse(node.value if isinstance(node, ast.Subscript) else node)
    for name, place in names.items():
        if written == name or written.startswith(f"{name}."):
            return resolve_name(place + written.removeprefix(name))
    return None


TOLD = (
    *(ast.Import, ast.ImportFrom, ast.Attribute, ast.Name, ast.Call),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
)


def parsed(code: str) -> list[ast.AST]:
    """What is looked at of a file: walked through once, which takes longer than all else here."""
    return [node for node in ast.walk(ast.parse(code)) if isinstance(node, TOLD)]


@cache
def files() -> dict[str, list[ast.AST]]:
    return {file.relative_to(ROOT).as_posix(): parsed(file.read_text(encoding="utf-8")) for file in CODE}


@cache
def ours() -> set[str]:
    return set().union(*map(defined, files().values()))


def private_names(nodes: list[ast.AST]) -> Iterator[str]:
    """The private names of other packages in a file: imported, read of an object, overridden in a class."""
    names, own = imported(nodes), defined(nodes)
    yield from (name for place in names.values() for name in place.split(".") if is_private(name))
    for node in nodes:
        match node:
            case ast.Attribute(attr=name) if is_private(name) and name not in own:
                if name not in ours() or not is_itself(node.value):  # else it is of a base class of ours
                    yield name
            case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(value=name), *_]):
                yield from [name] if is_private(name) else []
            case ast.ClassDef(bases=written):
                bases = [base for one in written if (base := base_of(one, names)) is not None]
                private = [name for name in (defined(ast.walk(node)) if bases else ()) if is_private(name)]
                yield from (name for name in private if any(hasattr(base, name) for base in bases))


def is_itself(node: ast.expr) -> bool:
    """Whether it is `self`, `cls` or `super()`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def test_the_worker_uses_no_private_name_of_another_package():
    found = {file: sorted(set(private_names(nodes))) for file, nodes in files().items()}

    assert {file: names for file, names in found.items() if names and file not in EXCEPTIONS} == {}
    assert [file for file in EXCEPTIONS if not found.get(file)] == []  # an exception that is no longer needed


@pytest.mark.parametrize(
    "code",
    [
        "from aiohttp.helpers import _SENTINEL",
        "import aiohttp._http_parser",
        "def f(session):\n    return session._connector",
        "def f(session):\n    return getattr(session, '_connector')",
        "from logging import FileHandler\nclass Log(FileHandler):\n    def _open(self): ...",
        "import logging\nclass Log(logging.FileHandler):\n    def f(self):\n        return self._at_fork_reinit()",
    ],
)
def test_each_way_to_use_one_is_found(code):
    assert list(private_names(parsed(code)))


def test_names_of_our_own_are_none_of_them():
    code = "class Log:\n    _ours = 1\n    def f(self, other):\n        return other._ours"

    assert list(private_names(parsed(code))) == []
