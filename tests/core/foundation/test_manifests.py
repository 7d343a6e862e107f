"""What each feature's manifest says holds: its pieces load, and its imports are the ones that it names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.features import FEATURES, HOOKS, Feature, Hook, loaded
from tests.core.foundation.shipped_names import offered, page
from tests.suite.of_features import ALL
from tests.suite.some import some

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "worker/features"
# Each feature, also one that is off because another one that it needs is not there.
MANIFESTS = {
    path.parent.name: loaded(f"onboarding_worker.features.{path.parent.name}:FEATURE")
    for path in FOLDER.glob("*/__init__.py")
}
ALL_HERE = MANIFESTS.keys() >= ALL
OWNED = {"DASHBOARD_PARTS": "dashboard", "LOG_IN_WAYS": "dashboard"}  # hooks that go with the feature that asks them
ELSEWHERE = ("worker", "onboarding_sandbox", "onboarding_testing", "migrations", "tests", "trials")


def hooks() -> dict[str, Hook]:
    """Each hook, from the module that owns it."""
    places = {}
    for path in (ROOT / "worker").rglob("*.py"):
        for name in re.findall(r'^([A-Z_]+)(?:: .+)? = Hook\("\1"[,)]', path.read_text(encoding="utf-8"), re.MULTILINE):
            assert name not in places
            places[name] = ".".join(("onboarding_worker", *path.relative_to(ROOT / "worker").with_suffix("").parts))
    return {name: loaded(f"{module}:{name}") for name, module in places.items()}


def test_each_hook_has_an_owner_and_a_feature_that_uses_it():
    assert hooks().keys() == HOOKS - {hook for hook, owner in OWNED.items() if owner not in MANIFESTS}
    if ALL_HERE:
        assert {name for one in MANIFESTS.values() for name in one.offers} == HOOKS


def test_each_piece_of_each_feature_loads_and_is_of_the_hooks_type():
    for hook in hooks().values():
        hook.offered()
    for feature in MANIFESTS.values():
        for place in feature.offers.values():
            [loaded(one) for one in place]


def test_no_feature_needs_itself_in_a_circle():
    def below(name: str, above: tuple[str, ...]) -> None:
        assert name not in above
        for other in MANIFESTS[name].needs if name in MANIFESTS else ():
            below(other, (*above, name))

    for name in MANIFESTS:
        below(name, ())


def test_each_feature_says_what_it_does_and_what_is_lost_without_it():
    assert [name for name, one in MANIFESTS.items() if "Without it" not in one.about or name != one.name] == []


def test_what_features_bring_is_written_down_by_name_for_who_lacks_one():
    for written, now in (
        (shipped.SECTIONS, {each.name: one.name for one in MANIFESTS.values() for each in offered(one, "SECTIONS")}),
        (shipped.COMMANDS, {name: one.name for one in MANIFESTS.values() for name in one.commands}),
        (shipped.FORMATS, {each.form: one.name for one in MANIFESTS.values() for each in offered(one, "LIST_FORMATS")}),
    ):
        assert {name: owner for name, owner in written.items() if owner in MANIFESTS} == now, (
            "run `python -m tests.core.foundation.shipped_names`"
        )
    served = {name: one.serves for name, one in MANIFESTS.items() if one.serves}
    assert {name: what for name, what in shipped.SERVES.items() if name in MANIFESTS} == served
    if ALL_HERE:
        assert Path(shipped.__file__).read_text(encoding="utf-8") == page()


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The modules and names that a file imports, and whether it does so as it is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_once = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((one.name, id(node) in at_once) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{one.name}", id(node) in at_once) for one in node.names)


def features_in(path: Path) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for name, at_once in imports(path):
        if match := re.match(r"onboarding_worker\.features\.(\w+)", name):
            found[match[1]] = found.get(match[1], False) or at_once
    return found


@pytest.mark.parametrize("name", MANIFESTS or [pytest.param("", marks=pytest.mark.skip(reason="there is no feature"))])
def test_a_feature_imports_only_the_features_that_its_manifest_names(name: str):
    feature: Feature = MANIFESTS[name]
    for path in some((FOLDER / name).rglob("*.py")):
        for other, at_once in features_in(path).items():
            assert other in {name, *feature.needs, *feature.uses}, f"{path} imports {other}"
            assert other not in feature.uses or not at_once, f"{path} imports {other} also where it is not there"


def test_a_manifest_imports_only_the_registry():
    for name in MANIFESTS:
        assert {one.rpartition(".")[0] for one, _ in imports(FOLDER / name / "__init__.py")} == {
            "onboarding_worker.core.foundation.features"
        }


def test_no_code_but_the_registry_names_a_feature():
    for path in some(path for folder in ELSEWHERE for path in (ROOT / folder).rglob("*.py")):
        if not path.is_relative_to(FOLDER) and not path.is_relative_to(ROOT / "tests/features"):
            text = path.read_text(encoding="utf-8").replace("/", ".")
            named = {name for name in MANIFESTS if f"onboarding_worker.features.{name}" in text}
            assert named == set(), path


def texts(node: ast.AST) -> Iterator[str]:
    """The texts in code, without those of `hint`, docstrings, and the descriptions of keys, which a page has."""
    match node:
        case ast.Constant(str(text)):
            yield text
        case ast.Expr(ast.Constant()) | ast.Call(ast.Name("hint" | "setting")) | ast.keyword("description"):
            pass
        case _:
            for child in ast.iter_child_nodes(node):
                yield from texts(child)


def with_needs(name: str) -> set[str]:
    return {name}.union(*(with_needs(other) for other in MANIFESTS[name].needs)) if name in MANIFESTS else set()


def test_no_text_names_a_command_or_the_page_of_a_feature_that_may_not_be_here():
    for path in some(sorted((ROOT / "worker").rglob("*.py"))):
        code = path.read_text(encoding="utf-8")
        if not re.search(r"onboard\W|features/", code):  # to parse it takes longer than all else
            continue
        here = with_needs(path.relative_to(FOLDER).parts[0]) if path.is_relative_to(FOLDER) else set()
        gone = [name for name, owner in shipped.COMMANDS.items() if owner not in here]
        named = re.compile(rf"onboard ({'|'.join(gone)})\b|docs/features/({'|'.join(MANIFESTS.keys() - here)})\.md")
        found = [text for text in texts(ast.parse(code)) if named.search(text)]
        assert found == [], f"{path}: ask by `hint`"


def test_what_is_here_are_all_folders():
    assert FEATURES.here.keys() <= MANIFESTS.keys()
