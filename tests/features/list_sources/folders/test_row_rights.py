"""What a partner's list may say to the provider: what its folder has the right to, and nothing of the operator's."""

import pytest

from onboarding_worker.core.database.tables import Job
from onboarding_worker.settings.problems import SettingsError
from tests.features.list_sources.folders.box import Box

LIST = "customer_id,email,idenfy-kyc.callbackUrl,account\n"
ROWS = "C-1,ona@example.org,https://evil.example/steal,\nC-2,jonas@example.org,,kyc\nC-3,rasa@example.org,,\n"
COLUMNS = '["idenfy-kyc.callbackUrl", "account"]'


def world_of(make, rights):
    more = 'per_row = ["callbackUrl", "account"]'
    return make(more=more, follow_up=f'[rights]\n{rights}\n[[intake]]\nfolder = "in"\nname = "in"')


def opened(make, tmp_path, rights, **options):
    (tmp_path / "in").mkdir()
    return Box(world_of(make, rights), tmp_path / "in", **options)


@pytest.mark.parametrize("rights", ["", f"lists = {COLUMNS}\nuploads = {COLUMNS}\nreports = {COLUMNS}"])
@pytest.mark.parametrize("approve", [False, True])
async def test_a_folder_has_no_right_of_its_own_and_none_of_another_door(make, tmp_path, rights, approve):
    here = opened(make, tmp_path, rights, approve=approve)
    here.put("list.csv", LIST + ROWS)
    here.take()
    assert [row.customer_id for row in here.world.rows(Job)] == ["C-3"]
    problems = here.beside("list.csv.errors.csv")[1:]
    assert [line.split(",")[:2] for line in problems] == [["2", "idenfy-kyc.callbackUrl"], ["3", "account"]]
    assert all("rights.folders.in" in line for line in problems)


async def test_the_right_of_a_folder_is_by_its_name(make, tmp_path):
    here = opened(make, tmp_path, f"folders = {{ in = {COLUMNS} }}")
    here.put("list.csv", LIST + ROWS)
    here.take()
    found = {row.customer_id: row.sets for row in here.world.rows(Job)}
    assert found == {"C-1": "idenfy-kyc.callbackUrl", "C-2": "account", "C-3": ""}


async def test_the_account_of_the_folders_own_configuration_needs_no_right(make, tmp_path):
    here = opened(make, tmp_path, "", account="kyc")
    here.put("list.csv", "customer_id,email,account\nC-1,ona@example.org,\nC-2,jonas@example.org,au\n")
    here.take()
    assert [(row.customer_id, row.account, row.sets) for row in here.world.rows(Job)] == [("C-1", "kyc", "")]
    await here.world.work()
    assert here.world.asked == ["C-1"]


async def test_a_report_that_comes_back_by_the_folder_has_the_folders_right_and_no_more(make, tmp_path):
    here = opened(make, tmp_path, f"reports = {COLUMNS}\nlists = {COLUMNS}")
    here.put("todo.csv", "row,customer_id,state,invitation,attempts,email,idenfy-kyc.callbackUrl\n"
             "2,C-7,rejected,none,0,ona@example.org,https://evil.example/steal\n")  # fmt: skip
    here.take()
    assert here.world.rows(Job) == []
    assert "rights.folders.in" in here.beside("todo.csv.errors.csv")[1]


async def test_the_right_of_a_folder_that_is_not_there_stops_the_start(make):
    with pytest.raises(SettingsError, match=r"rights\.folders\.out"):
        world_of(make, f"folders = {{ out = {COLUMNS} }}")
