"""The registry: it finds features by their folders, and what they offer by the hooks' names."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from onboarding_worker.core.foundation.features import FEATURES, Feature, Features, Hook, hint

NUMBERS = count()


@dataclass(frozen=True)
class Piece:
    name: str


def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **manifests: str) -> Features:
    """Those of a package with a folder for each of the manifests, which are arguments of a `Feature`."""
    package = f"features_of_test_{next(NUMBERS)}"
    for name, manifest in manifests.items():
        folder = tmp_path / package / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(
            "from tests.core.foundation.test_features import Piece\n"
            "from onboarding_worker.core.foundation.features import Feature\n"
            f"FEATURE = Feature(**({{'name': {name!r}, 'about': ''}} | dict({manifest})))\n"
            f"ONE, TWO, WRONG = Piece('{name} one'), Piece('{name} two'), 'a text'\n".replace("PACKAGE", package)
        )
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "left_over" / "__pycache__").mkdir(parents=True)  # what a deleted folder leaves behind
    monkeypatch.syspath_prepend(tmp_path)
    return Features(package)


def test_features_are_the_folders_of_the_package(tmp_path, monkeypatch):
    assert [*features(tmp_path, monkeypatch, b="", a="").here] == ["a", "b"]


def test_a_feature_is_off_without_one_that_it_needs(tmp_path, monkeypatch):
    found = features(tmp_path, monkeypatch, a="needs=('b',)", b="needs=('gone',)", c="needs=('d',)", d="")

    assert [*found.here] == ["c", "d"]


def test_a_feature_is_on_without_one_that_it_uses(tmp_path, monkeypatch):
    assert [*features(tmp_path, monkeypatch, a="uses=('gone',)").here] == ["a"]


def test_a_folder_whose_manifest_has_another_name_is_refused(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="a: its FEATURE"):
        _ = features(tmp_path, monkeypatch, a="name='b'").here


def test_a_folder_without_a_manifest_is_refused(tmp_path, monkeypatch):
    found = features(tmp_path, monkeypatch, a="")
    (package,) = tmp_path.glob("features_of_test_*")
    (package / "a" / "__init__.py").write_text(
        "from types import SimpleNamespace\nFEATURE = SimpleNamespace(name='a', needs=())\n"
    )
    with pytest.raises(TypeError, match="a: its FEATURE"):
        _ = found.here


def test_pieces_come_in_the_order_of_names_and_manifests(tmp_path, monkeypatch):
    offers = "offers={'TELLERS': ('PACKAGE.%s:TWO', 'PACKAGE.%s:ONE')}"
    found = features(tmp_path, monkeypatch, b=offers % ("b", "b"), a=offers % ("a", "a"), c="")

    assert [piece.name for piece in Hook("TELLERS", Piece).offered(found)] == ["a two", "a one", "b two", "b one"]
    assert Hook("SECTIONS", Piece).offered(found) == ()


def test_a_hook_of_functions_takes_each_function(tmp_path, monkeypatch):
    found = features(tmp_path, monkeypatch, a="offers={'TELLERS': ('builtins:len', 'builtins:abs')}")

    assert Hook("TELLERS").offered(found) == (len, abs)
    with pytest.raises(TypeError, match="builtins:len: TELLERS takes a Piece"):
        Hook("TELLERS", Piece).offered(found)


@pytest.mark.parametrize(
    ("place", "error"),
    [("PACKAGE.a:WRONG", TypeError), ("PACKAGE.a:GONE", AttributeError), ("PACKAGE.gone:ONE", ModuleNotFoundError)],
)
def test_a_slip_in_a_manifest_is_no_silence(place, error, tmp_path, monkeypatch):
    found = features(tmp_path, monkeypatch, a=f"offers={{'TELLERS': ('{place}',)}}")

    with pytest.raises(error):
        Hook("TELLERS", Piece).offered(found)
    with pytest.raises(error):
        Hook("TELLERS").offered(found)  # of functions


def test_a_hook_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="TYPO"):
        Feature(name="a", about="", offers={"TYPO": ()})
    with pytest.raises(ValueError, match="TYPO"):
        Hook("TYPO", Piece)


def test_what_is_here_is_found_once():
    assert FEATURES.here is FEATURES.here


def test_a_message_names_only_commands_that_are_here():
    assert {hint(name, "words") for one in FEATURES.here.values() for name in one.commands} <= {"words"}
    assert hint("no-such", "words") == ""
