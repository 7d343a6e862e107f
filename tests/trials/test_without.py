"""`make without`: what a copy of the checkout without a feature has, and what it says of the feature."""

from pathlib import Path

import pytest

from onboarding_worker.core.foundation.features import FEATURES
from trials.without import ALL, ROOT, copy_without, refusals, run, taken

NAME = next((name for name in FEATURES.here if (ROOT / "tests/features" / name).is_dir()), "")
pytestmark = [
    pytest.mark.skipif(not NAME, reason="there is no feature"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a copy, of which no copy is made"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("this is such a copy")
    return copy_without(taken(NAME), tmp_path_factory.mktemp("without"))


def test_the_copy_has_neither_the_folder_nor_the_tests_nor_the_page(copy: Path) -> None:
    for place in (f"worker/features/{NAME}", f"tests/features/{NAME}", f"docs/features/{NAME}.md"):
        assert (ROOT / place).exists()
        assert not (copy / place).exists()
    assert f"features/{NAME}.md" not in (copy / "mkdocs.yml").read_text(encoding="utf-8")


def test_the_copy_starts_and_refuses_by_name_what_the_feature_brought(copy: Path) -> None:
    assert run(copy, "python", "-c", "import onboarding_worker as o; print(o.__file__)").stdout.startswith(str(copy))
    assert run(copy, "onboard", "--help").returncode == 0
    assert [*refusals(copy, taken(NAME))] == []


def test_without_all_no_feature_is_left() -> None:
    assert taken(ALL) == {*FEATURES.here}
