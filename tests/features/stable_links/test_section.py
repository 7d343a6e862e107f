from pathlib import Path

import pytest

from tests.settings.samples import problems, tree, without_credentials

HERE = {"base_url": "https://onboard.example.com"}


def test_keys_of_our_own_links_need_them_and_an_address(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        ({"mode": "stable"}, 'web.base_url: missing, and needed for mode = "stable"'),
        ({"issue": "on-click"}, 'links.issue: needs mode = "stable"'),
        ({"page": True}, 'links.page: needs mode = "stable"'),
    ]
    for links, said in cases:
        with subtests.test(links=links):
            (line,) = problems(tmp_path, tree(links=links))
            assert line.startswith(said)
    assert problems(tmp_path, tree(links={"mode": "stable", "issue": "on-click", "page": True}, web=HERE)) == []


def test_a_web_server_beyond_loopback_may_answer_our_own_links_alone(tmp_path: Path) -> None:
    configuration = without_credentials(tree(web=HERE | {"bind": "0.0.0.0:8080"}))
    configuration["links"] = {"mode": "stable"}
    del configuration["sms"], configuration["whatsapp"]
    assert problems(tmp_path, configuration) == []
    del configuration["links"]
    (line,) = problems(tmp_path, configuration)
    assert line.startswith("web.bind: an address other than loopback needs credentials")
