import pytest

from onboarding_worker.templates.render import Templates


@pytest.fixture
def own(tmp_path):
    """Templates with these files in the operator's folder."""

    def make(files, **arguments):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return Templates(tmp_path, **arguments)

    return make
