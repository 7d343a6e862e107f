"""The template language: Jinja2, reduced to what the text of one message needs.

Jinja's sandbox stops a template from accessing other objects, but not from using up memory and time: it
rendered a gigabyte from `{{ 'a' * 10**9 }}`. A limit on each operator, filter and loop would never cover
every way to make a string longer. An invitation has no list to walk and no text to build, so a list allows
only what cannot grow: variables, `if`, `set`, comparisons, a few filters, and blocks in a layout. One dot is
allowed, in `vendor.NAME` and `message.NAME`: what follows it is a key of a mapping, never an attribute of an
object. A list is allowed behind `in` alone, and what a filter makes is no longer than a file. So the cost of a
template depends only on the lengths of its files and variables; both are bounded.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache, wraps
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined, Template, TemplateSyntaxError, Undefined, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from onboarding_worker.core.model.customers import MESSAGE
from onboarding_worker.core.rules.contact import CannotWrite
from onboarding_worker.templates.values import OWN_NAME, VENDOR

FILE_LENGTH = 64 * 1024  # characters of one template file
LAYOUTS = 3  # layouts above a template, one extending the other
MOST_REMEMBERED = 100  # files, parsed; the built-in ones are 27
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a value of the vendor's
MAPPINGS = (VENDOR, MESSAGE)
OWN_NAMES = "write the column's name in small letters, digits and _"

FILTERS = ("capitalize", "d", "default", "e", "escape", "length", "lower", "title", "trim", "truncate", "upper")
TESTS = ("defined", "undefined", "eq", "equalto", "==", "ne", "!=", "in", "lt", "<", "gt", ">", "le", "<=", "ge", ">=")
ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Const,
    nodes.Name,
    nodes.If,
    nodes.CondExpr,
    nodes.Assign,
    nodes.Filter,
    nodes.Test,
    nodes.Keyword,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Tuple,
    nodes.List,
    nodes.Block,
    nodes.Extends,
)
# What people will try, by its name in Jinja's parser.
SPELLINGS = {
    "Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "FloorDiv": "//", "Mod": "%", "Pow": "**", "Concat": "~",
    "For": "{% for %}", "Macro": "{% macro %}", "CallBlock": "{% call %}", "FilterBlock": "{% filter %}",
    "AssignBlock": "{% set %}…{% endset %}", "With": "{% with %}", "Include": "{% include %}",
    "Import": "{% import %}", "FromImport": "{% from %}", "ScopedEvalContextModifier": "{% autoescape %}",
    "Call": "calling a function", "Getitem": "[…] after a variable",
    "Getattr": "a dot after a variable, but for vendor.NAME and message.NAME,",
}  # fmt: skip


class TemplateProblem(CannotWrite):
    """The problem of a template. The text names file, line and cause; never a value of a customer."""


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja, with our own rules for the file that an `extends` names and for what follows a dot."""

    def __init__(self, layout_of: Callable[[str, str], str], **options: Any) -> None:
        super().__init__(**options)
        self.join_path = layout_of  # type: ignore[method-assign, assignment]  # Jinja lets a class override it

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What `vendor.NAME` and `message.NAME` are: empty, and not defined, where the answer or the row has no such
        value. Jinja's own would give a mapping's methods."""
        return (obj.get(attribute) if isinstance(obj, Mapping) else None) or Undefined(name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self.getattr(obj, argument)


def environment(sources: Mapping[str, str], layout_of: Callable[[str, str], str]) -> Environment:
    """Jinja for these files, with FILTERS and TESTS only. Only HTML is escaped: plain text needs no escaping.
    `layout_of(name, file)` is the file that is meant where a file extends `name`."""
    env = _Environment(
        layout_of,
        loader=DictLoader(sources),
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    env.globals.clear()
    env.filters = {name: _bounded(env.filters[name]) for name in FILTERS}
    env.tests = {name: env.tests[name] for name in TESTS}
    return env


def _bounded(made_by: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, as long as its text is no longer than a file. `escape` and `title` in turn make a text grow."""

    @wraps(made_by)
    def bounded(*arguments: Any, **options: Any) -> Any:
        made = made_by(*arguments, **options)
        if isinstance(made, str) and len(made) > FILE_LENGTH:
            raise ValueError("the text is too long")
        return made

    return bounded


_PARSER = environment({}, lambda name, file: name)


@lru_cache(MOST_REMEMBERED)
def parsed(source: str) -> nodes.Template:
    """The tree of a file, to look at and not to change. Each file is looked at several times, and parsing is dear."""
    return _PARSER.parse(source)


def read(name: str, source: str, known: Mapping[str, str]) -> str | None:
    """Check one file and return the layout that it extends, if any. `known` are the available variables. Raises
    TemplateProblem. Nothing of the template is evaluated: even Jinja's constant folding comes later, when the allowed
    nodes leave nothing to fold."""
    if len(source) > FILE_LENGTH:
        raise TemplateProblem(f"{name}: longer than {FILE_LENGTH // 1024} KiB")
    try:
        tree = parsed(source)
        every: list[nodes.Node] = [tree, *tree.find_all(nodes.Node)]
    except TemplateSyntaxError as error:
        raise TemplateProblem(f"{name}, line {error.lineno}: {error.message}") from None
    except (RecursionError, ValueError, MemoryError):  # nested too deep; a number with thousands of digits
        raise TemplateProblem(f"{name}: nested too deep, or with a number that is too long") from None
    for node in every:
        if not isinstance(node, ALLOWED) and not any(name_of(node, of=one) for one in MAPPINGS):
            what = SPELLINGS.get(type(node).__name__, type(node).__name__)
            raise TemplateProblem(f"{name}, line {node.lineno}: {what} is not available in templates")
    # A list is something to compare with. A variable with ten times a list of ten lists would be text without end.
    compared = {id(node.expr) for node in every if isinstance(node, nodes.Operand)}
    compared |= {id(argument) for node in every if isinstance(node, nodes.Test) for argument in node.args}
    for node in every:
        if isinstance(node, nodes.List | nodes.Tuple) and id(node) not in compared:
            raise TemplateProblem(f"{name}, line {node.lineno}: a list is available behind `in` alone")
    _check_names(name, every, known)
    return _layout(name, tree, every)


def blocks_in(source: str) -> set[str]:
    return {node.name for node in parsed(source).find_all(nodes.Block)}


def never_shown(name: str, source: str, above: Collection[str]) -> list[str]:
    """What a file that extends a layout says in vain, since Jinja drops it: one line for each problem. `above` are the
    blocks of its layouts."""
    found = []
    for node in parsed(source).body:
        if isinstance(node, nodes.Block) and node.name not in above:
            nearest = difflib.get_close_matches(node.name, above, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"they are {', '.join(sorted(above))}"
            found.append(f"{name}, line {node.lineno}: the layout has no block {node.name}; {hint}")
        elif isinstance(node, nodes.Output) and not all(
            isinstance(one, nodes.TemplateData) and not one.data.strip() for one in node.nodes
        ):
            found.append(f"{name}, line {node.lineno}: text outside the blocks is not shown; put it into a block")
    return found


def answer_values(source: str) -> dict[str, tuple[int, bool]]:
    """What an accepted file uses of an answer: each name's first line, and whether it is shown there unasked."""
    return _used(source, _answer_name)


def own_columns(source: str) -> dict[str, tuple[int, bool]]:
    """The same of the list's own columns: each NAME of `message.NAME`."""
    return _used(source, lambda node: name_of(node, of=MESSAGE))


def _used(source: str, named: Callable[[nodes.Node], str | None]) -> dict[str, tuple[int, bool]]:
    """The names that a file uses, each with the line of its first use without a question before it, if there is one."""
    found: dict[str, tuple[int, bool]] = {}

    def use(name: str, line: int, *, careless: bool) -> None:
        if name not in found or (careless and not found[name][1]):
            found[name] = line, careless

    def names_in(*tests: nodes.Node) -> set[str]:
        every = [inner for test in tests for inner in (test, *test.find_all(nodes.Expr))]
        names = {name: inner.lineno for inner in every if (name := named(inner))}
        for name, line in names.items():
            use(name, line, careless=False)
        return {*names}

    def walk(node: nodes.Node, asked: set[str]) -> None:
        if name := named(node):
            use(name, node.lineno, careless=name not in asked)
            return
        children, questions = list(node.iter_child_nodes()), list[nodes.Node]()
        match node:
            case nodes.If():
                own = names_in(node.test)
                for child in (*node.body, *node.elif_):
                    walk(child, asked | own)
                questions = [node.test, *(one.test for one in node.elif_)]
                children = node.else_
            case nodes.CondExpr():
                questions, children = [node.test], [child for child in children if child is not node.test]
            case nodes.And() | nodes.Or():
                questions, children = [node.left], [node.right]
            case nodes.Filter() if node.name in ("d", "default") and node.node is not None:
                questions, children = [node.node], list(node.args)
        inside = asked | names_in(*questions)
        for child in children:
            walk(child, inside)

    walk(parsed(source), set())
    return found


def _answer_name(node: nodes.Node) -> str | None:
    """The answer's value that is used here, as a template spells it; None: none is."""
    if isinstance(node, nodes.Name) and node.name in ("digits", "provider"):
        return node.name
    name = name_of(node)
    return name and (f"{VENDOR}.{name}" if name.isidentifier() else f'{VENDOR}["{name}"]')


def name_of(node: nodes.Node, *, of: str = VENDOR) -> str | None:
    """NAME, if the node is `vendor.NAME` or `vendor["NAME"]`, or of another mapping; else None."""
    match node:
        case (
            nodes.Getattr(node=nodes.Name(name=mapping), attr=str(name), ctx="load")
            | nodes.Getitem(node=nodes.Name(name=mapping), arg=nodes.Const(value=str(name)), ctx="load")
        ) if mapping == of and NAME.fullmatch(name):
            return name
    return None


def compiled(env: Environment, name: str) -> Template:
    """The compiled template; cached by Jinja. Raises TemplateProblem."""
    try:
        return env.get_template(name)
    except TemplateSyntaxError as error:  # Jinja reports unknown filters and tests here
        raise TemplateProblem(f"{error.name or name}, line {error.lineno}: {error.message}") from None
    except Exception as error:
        raise TemplateProblem(f"{name}: does not compile ({type(error).__name__})") from None


def blocks(template: Template, variables: Mapping[str, object]) -> dict[str, str]:
    """The rendered text of each block of the template and of its layouts. Raises TemplateProblem."""
    context = template.new_context(dict(variables))
    try:
        for _ in template.root_render_func(context):  # makes the layouts' blocks known to the context
            pass
        return {name: "".join(stack[0](context)) for name, stack in context.blocks.items()}
    except Exception as error:
        raise TemplateProblem(f"{template.name}: does not render ({type(error).__name__})") from None


def _check_names(name: str, every: list[nodes.Node], known: Mapping[str, str]) -> None:
    names = [node for node in every if isinstance(node, nodes.Name)]
    with_name = {id(node.node) for node in every if isinstance(node, (nodes.Getattr, nodes.Getitem))}
    assigned = {node.name for node in names if node.ctx == "store"}
    for node in every:
        if (own := name_of(node, of=MESSAGE)) and not OWN_NAME.fullmatch(own):
            raise TemplateProblem(f"{name}, line {node.lineno}: message.{own}: {OWN_NAMES}")
    for node in names:
        if node.ctx == "store" and node.name in known:
            raise TemplateProblem(f"{name}, line {node.lineno}: the variable {node.name} cannot be set")
        if node.name in MAPPINGS and node.name in known and id(node) not in with_name:
            raise TemplateProblem(f"{name}, line {node.lineno}: write {node.name}.NAME, with the name of one value")
        if node.name not in known and node.name not in assigned:
            nearest = difflib.get_close_matches(node.name, known, n=1)
            hint = f", did you mean {nearest[0]}?" if nearest else ""
            raise TemplateProblem(f"{name}, line {node.lineno}: there is no variable {node.name}{hint}")


def _layout(name: str, tree: nodes.Template, every: list[nodes.Node]) -> str | None:
    extends = [node for node in every if isinstance(node, nodes.Extends)]
    if not extends:
        return None
    [first, *more] = extends
    where = f"{name}, line {first.lineno}"
    if more or first not in tree.body or not isinstance(first.template, nodes.Const):
        raise TemplateProblem(f"{where}: use one extends, outside all other tags, with a name in quotes")
    layout = str(first.template.value)
    if layout.rpartition(".")[2] != name.rpartition(".")[2]:  # or text would reach HTML unescaped
        raise TemplateProblem(f"{where}: a layout must end like the file that extends it, .html or .txt")
    return layout
