"""The tables `[[intake]]`: each folder has a name and a place of its own, and what its kind needs."""

from onboarding_worker.features.list_sources.settings import SECTION, Intake
from tests.settings.samples import loaded, problems, tree


def test_two_folders_have_two_names_and_a_folder_names_what_is_there(tmp_path):
    twice = [{"folder": "a/in"}, {"folder": "b/in", "account": "kyk"}, {"folder": "ftp://host/in"}]
    assert [line.partition(": ")[0] for line in problems(tmp_path, tree(intake=twice))] == [
        "intake[3].folder",
        "intake[1].name",
        "intake[2].name",
        "intake[2].account",
    ]
    there = tree(intake=[{"folder": "a/in"}, {"folder": "b/in", "name": "b", "locale": "lt"}])
    folders = loaded(tmp_path, there).tables(Intake)
    assert [one.known_as for one in folders] == ["in", "b"]
    assert folders[0].folder == tmp_path / "a/in"
    assert folders[1].defaults == {"locale": "lt"}


KEY = "host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFy8"


def test_a_folder_on_another_machine_has_what_its_kind_needs_and_nothing_else(tmp_path, subtests):
    cases = [
        ({"folder": "sftp://bank@files.example.com/in", "password": {"env": "P"}}, ""),
        ({"folder": "sftp://bank@files.example.com:2222/in", "key": {"env": "K"}, "known_hosts": KEY}, ""),
        ({"folder": "s3://bucket/in"}, ""),
        ({"folder": "s3://bucket", "endpoint": "http://127.0.0.1:9000"}, ""),
        ({"folder": "s3://bucket", "access_key": {"env": "P"}, "secret_key": {"env": "P"}}, ""),
        ({"folder": "sftp://bank@files.example.com/in"}, "folder: needs `key` or `password`"),
        ({"folder": "sftp://bank:hemlig@files.example.com/in"}, "folder: a password in an address can be seen"),
        ({"folder": "sftp://files.example.com/in", "password": {"env": "P"}}, "folder: expected the path"),
        ({"folder": "sftp://bank@files.example.com/a/../in", "password": {"env": "P"}}, "folder: expected the path"),
        ({"folder": "sftp://bank@h/in", "password": {"env": "P"}, "known_hosts": ""}, "known_hosts: expected lines"),
        ({"folder": "sftp://bank@h/in", "password": {"env": "P"}, "known_hosts": "none"}, "known_hosts: expected"),
        ({"folder": "sftp://bank@h/in", "password": "hemlig"}, "password: do not write a secret"),
        ({"folder": "sftp://bank@h/in", "key": {"env": "P"}}, "key: expected a private key"),
        ({"folder": "s3://Bucket/in"}, "folder: expected the path"),
        ({"folder": "s3://bucket/in", "access_key": {"env": "P"}}, "access_key: needs `secret_key`, too"),
        ({"folder": "s3://bucket/in", "endpoint": "http://minio.internal"}, "endpoint: expected https"),
        ({"folder": "s3://bucket/in", "password": {"env": "P"}}, "password: for folders on sftp:// only"),
        ({"folder": "in", "key": {"env": "K"}}, "key: for folders on sftp:// only"),
    ]
    for folder, wrong in cases:
        with subtests.test(folder=folder):
            key = "-----BEGIN OPENSSH PRIVATE KEY-----"
            found = problems(tmp_path, tree(intake=[folder]), P="hemlig-password", K=key)
            assert [line.startswith(f"intake[1].{wrong}") for line in found] == ([True] if wrong else [])
            assert "hemlig" not in "".join(found)


def test_far_folders_are_machines_to_connect_to(tmp_path):
    folders = [
        {"folder": "in"},
        {"folder": "sftp://bank@files.example.com:2222/far", "password": {"env": "P"}},
        {"folder": "s3://bucket/lists"},
        {"folder": "s3://bucket/own", "endpoint": "https://minio.example.com"},
    ]
    assert list(SECTION.outside(loaded(tmp_path, tree(intake=folders), P="hemlig").tables(Intake))) == [
        ("intake.far", "sftp://bank@files.example.com:2222/far"),
        ("intake.lists", "https://s3.amazonaws.com"),
        ("intake.own", "https://minio.example.com"),
    ]
