"""The README's list of what is not in this release: each thing on it is missing, and says so."""

import pytest

from tests.deploy.compose_file import ROOT
from tests.desk.desk import Desk

README = (ROOT / "README.md").read_text("utf-8").partition("Not in this release")[2]


@pytest.mark.parametrize("address", ["sftp://box.example.com/in", "s3://bucket/in"])
def test_a_folder_on_another_machine_is_refused_with_what_to_do(desk: Desk, address: str):
    assert address.partition("://")[0] in README
    desk.add(f'[[intake]]\nfolder = "{address}"\n')
    ended = desk.onboard("status")
    assert ended.code == 2
    assert "not in this release: a folder on another machine; give a directory of this one" in ended.err
