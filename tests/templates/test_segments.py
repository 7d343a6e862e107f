"""The number of segments of a text; no own template takes a dozen segments without a problem."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_sandbox.endpoints.twilio import count_segments
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.templates.checks import SAMPLE, SAMPLE_NOW, SAMPLES, problems
from onboarding_worker.templates.content import Encoding, Segments, segments
from onboarding_worker.templates.render import Templates

PLAIN, WIDE = Encoding.GSM_7, Encoding.UCS_2


def test_a_text_has_its_alphabet_and_its_count():
    cases = [
        ("", Segments(PLAIN, 0)),
        ("a", Segments(PLAIN, 1)),
        ("a" * 160, Segments(PLAIN, 1)),
        ("a" * 161, Segments(PLAIN, 2)),
        ("a" * 306, Segments(PLAIN, 2)),
        ("a" * 307, Segments(PLAIN, 3)),
        ("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ ¤¡ÄÖÑÜ§¿äöñüà", Segments(PLAIN, 1)),
        ("€" * 80, Segments(PLAIN, 1)),  # two septets each
        ("€" * 81, Segments(PLAIN, 2)),
        ("{}[]~|^\\\f", Segments(PLAIN, 1)),
        ("a" * 152 + "€" + "a" * 152, Segments(PLAIN, 3)),  # 306 septets, but the escape and its letter stay together
        ("ç", Segments(WIDE, 1)),  # the alphabet has the capital alone
        ("á", Segments(WIDE, 1)),
        ("ė" * 70, Segments(WIDE, 1)),
        ("ė" * 71, Segments(WIDE, 2)),
        ("ė" * 134, Segments(WIDE, 2)),
        ("ė" * 135, Segments(WIDE, 3)),
        ("😀" * 35, Segments(WIDE, 1)),
        ("😀" * 67, Segments(WIDE, 3)),  # 134 units, but 33 pairs to a part: no pair is torn
        ("a" * 69 + "’", Segments(WIDE, 1)),
        ("a" * 70 + "’", Segments(WIDE, 2)),
        ("`", Segments(WIDE, 1)),
    ]
    assert [(text, got) for text, expected in cases if (got := segments(text)) != expected] == []


@given(st.text(st.sampled_from("ab€{éė😀\n_`"), min_size=1, max_size=400))
def test_the_sandbox_counts_the_same_by_itself(text):
    assert segments(text).count == count_segments(text)


def test_the_built_in_texts_keep_to_the_phone_alphabet_and_two_segments(subtests):
    for sample, locale in product(SAMPLES, ["en", "de", "es", "fr", "lt"]):
        with subtests.test(sample=sample, locale=locale):
            link = "https://ivs.idenfy.com/api/v2/redirect?authToken=" + "a1B2" * 10
            who = replace(sample.customer, locale=locale)
            rendered = Templates(None).render(
                replace(sample, customer=who, opening=Opening(link)), channel="sms", now=SAMPLE_NOW
            )

            assert segments(rendered.text).encoding is PLAIN
            assert segments(rendered.text).count <= 2
            assert link in rendered.text


@pytest.mark.parametrize(
    ("words", "size"), [("a" * 1600, "11 text messages of GSM-7"), ("ė" * 700, "11 text messages of UCS-2")]
)
def test_an_own_text_of_more_than_ten_segments_is_named(tmp_path, words, size):
    (tmp_path / "default" / "en").mkdir(parents=True)
    (tmp_path / "default" / "en" / "sms.txt").write_text("{{ link }} " + words, encoding="utf-8")

    (problem,) = problems(Templates(tmp_path))

    assert problem.startswith(f"default/en/sms.txt: takes {size}")
    assert SAMPLE.opening.link not in problem


def test_an_own_text_of_ten_segments_is_fine(tmp_path):
    (tmp_path / "default" / "en").mkdir(parents=True)
    filled = "a" * (10 * 153 - len(SAMPLE.opening.link) - 1)
    (tmp_path / "default" / "en" / "sms.txt").write_text("{{ link }} " + filled, encoding="utf-8")

    assert problems(Templates(tmp_path)) == []
