"""The feature of examples/feature, which docs/how-to/adding-a-feature.md explains, in a copy of the checkout."""

import shutil
from pathlib import Path

import pytest

from trials.without import ROOT, copy_without, run

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a copy, of which no copy is made")

# Its own tests ask its command and its route. The others are those that a feature meets because it is there.
TESTS = (
    "tests/features/notice",
    "tests/core/foundation/test_manifests.py",
    "tests/cli/every_command/test_audited_commands.py",
    "tests/cli/every_command/test_needs.py",
    "tests/core/database/test_migrations.py",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = copy_without((), tmp_path_factory.mktemp("added"))
    shutil.copytree(ROOT / "examples/feature", copy, dirs_exist_ok=True)
    made = run(copy, "python", "-m", "tests.core.foundation.shipped_names")
    assert made.returncode == 0, made.stderr
    return copy


def test_the_feature_passes_its_tests_and_those_of_all_features(copy: Path):
    asked = "(notice or manifest or feature or declared or table_of_needs or schema or constraint) and not postgresql"
    ended = run(copy, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", asked, *TESTS)

    assert ended.returncode == 0, ended.stdout[-5000:]


def test_its_command_is_one_of_the_program(copy: Path):
    assert "Show a notice on the web server." in run(copy, "onboard", "--help").stdout
    assert run(copy, "onboard", "init", "--sandbox").returncode == 0
    written = run(copy, "onboard", "notice", "closed on Monday")

    assert (written.stdout, written.returncode) == ("the notice is shown\n", 0), written.stderr
