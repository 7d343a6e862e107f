"""A stranger chooses a name and the address that it is sent to: the message must not carry the stranger's words."""

import re
import string
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.core.model.customers import Customer, CustomerKind, Person
from onboarding_worker.templates import values as names
from onboarding_worker.templates.checks import SAMPLE, SAMPLE_NOW
from onboarding_worker.templates.no_values import real_names
from onboarding_worker.templates.render import Templates
from onboarding_worker.templates.values import LENGTH, company_name, folded, person_names

TEMPLATES = Templates(None)
HOSTS = (
    "evil.com",
    "evil.com/pay",
    "Click evil.com/pay",
    "evil\u3002com",  # 。
    "evil\uff0ecom",  # ．
    "evil\uff61com",  # ｡
    "evil\ufe52com",  # ﹒
    "evil\u2024com",  # ․
    "evil\ufe12com",  # ︒
    "ｅｖｉｌ．ｃｏｍ",
    "𝐞𝐯𝐢𝐥.𝐜𝐨𝐦",
    "ⓔⓥⓘⓛ.ⓒⓞⓜ",
    "evil.\ufe0fcom",
    "evil.\u034fcom",
    "evil.\u3164com",
    "evil.c\u0329om",
    "e\u00advil.\u200bcom",
    "evil\u2060.com",
    "пример.рф",
    "例え。テスト",
    "www.evil",
    "//localhost",
    "／／localhost",
    "\\\\host",
    "185.12.3.4",
    "ｗｗｗ.evil",
    "https://evil",
    "https：／／evil",
    "mailto:x",
    "javascript:alert",
    "a@evil",
    "a＠evil",
    "Booking.com",
    "e v i l . c o m",
    "e v i l c o m",
    "ｅ ｖ ｉ ｌ . ｃ ｏ ｍ",
    "e-v-i-l-.-c-o-m",
    "e_v_i_l",
    "е в и л . р ф",
    "evil . com",
    "evil .com",
    "ev il . co m",
    "evil dot com",
    "evil [dot] com",
    "evil(dot)com",
)
NUMBERS = (
    "tel:+4490012345",
    "Call 0900123456",
    "Call ０９００１２３４５６",
    "call 1-800-666",
    "0 9 0 0 1 2",
    "٠٩٠٠١٢٣",
    "⓪⑨⓪⓪①②",
    "➀➁➂➃➄",
)
SENTENCES = ("Your card was charged €499", "Your account is blocked. Log in now", "您的卡已被扣款。请致电")


def person_texts(first, last=""):
    person = Person(first_name=first, last_name=last)
    return messages(Customer("C-1", person=person))


def company_texts(name):
    return messages(Customer("C-1", kind=CustomerKind.COMPANY, person=Person(company_name=name)))


def messages(customer):
    for channel in ("email", "sms"):
        made = TEMPLATES.render(replace(SAMPLE, customer=customer), channel=channel, now=SAMPLE_NOW)
        yield from (made.subject, made.text, made.html)


NEUTRAL = list(person_texts("")), list(company_texts(""))


def test_what_is_no_name_is_in_no_message(subtests):
    for lure in HOSTS + NUMBERS + SENTENCES:
        with subtests.test(lure=lure):
            assert list(person_texts(lure)) == NEUTRAL[0]
            assert list(person_texts("Maria", lure)) == NEUTRAL[0]
            assert list(company_texts(lure)) == NEUTRAL[1]


def test_what_is_no_name_of_a_person_is_not_greeted(subtests):
    for first, last in [
        ("Your card was charged EUR 499.", "Call 0900123456 now"),
        ("Your card was charged", "call us"),
        ("Your card", "was blocked today"),
        ("Call 09", "00 12"),
        ("Pay now!", "x"),
        ("You won,", "click"),
        ("¿Ganaste", "algo"),
        ("Win $", "x"),
        ("a/b", ""),
        ("S" * 41, ""),
        ("您的卡已被扣款请致电您的卡已被扣款请致电卡", ""),
        ("A B C D E", "F G H I"),
    ]:
        with subtests.test(first=first, last=last):
            assert person_names(first, last) == ("", "")
            assert list(person_texts(first, last)) == NEUTRAL[0]


def test_a_name_of_a_person_is_greeted():
    cases = [
        ("Maria", "López"),
        ("Jean-Luc", "de la Fontaine"),
        ("María del Carmen", "García de los Ríos"),
        ("J. R. R.", "Tolkien"),
        ("A. P. J.", "Abdul Kalam"),
        ("Dot", "Cotton"),
        ("김 민 수", "이"),
        ("Prof. Dr. Hans", "von der Tann"),
        ("John", "O’Neill 3rd"),
        ("maria", "lopez"),
        ("Nguyễn Thị", "Minh Khai"),
        ("王小明", ""),
        ("ويليام", "الرشيد"),
        ("Əli", "Məmməd oğlu Quliyev"),
        ("Giuseppe", "Della Rovere della Torre"),
        ("Wolfeschlegelsteinhausenbergerdorff", "Sr."),
        ("김", "민준"),
        ("श्रीनिवास", "रामानुजन"),
    ]
    assert [(first, got) for first, last in cases if (got := person_names(first, last)) != (first, last)] == []


def test_a_name_of_a_company_is_repeated():
    cases = [
        "Example Ltd",
        "Novo Example A/S",
        "Müller & Söhne GmbH & Co. KG",
        "J.P. Example Chase & Co.",
        "Example, Smith & Jones, Inc.",
        "Studio 1984",
        "24/7 Gym",
        "Example S.p.A.",
        "Example d.o.o.",
        "Verein für deutsche Schäferhunde e. V.",
        "株式会社例",
    ]
    assert [(name, got) for name in cases if (got := company_name(name)) != name] == []


def test_a_legal_form_without_a_space_is_no_host():
    assert company_name("Beispiel GmbH & Co.KG") == "Beispiel GmbH & Co. KG"
    assert company_name("Example Pty.Ltd") == "Example Pty. Ltd"
    assert company_name("evil.ltd") == ""


def test_a_family_name_alone_is_not_greeted_where_the_given_name_is_a_lure():
    assert person_names("evil.com", "Smith") == ("", "")


DOTS = st.sampled_from(".\u3002\uff0e\uff61\ufe52\u2024\ufe12")
HIDDEN = st.sampled_from(["", "\u200b", "\u00ad", "\u2060", "\ufe0f", "\u034f", "\u3164", "\u202e"])
LETTERS = st.text(st.sampled_from("abcXYZéжя例") | st.sampled_from("ａｂ𝐜"), min_size=2, max_size=10)


@given(st.text(alphabet=string.ascii_letters, min_size=1, max_size=40), st.sampled_from(["Dot", "www", "com", "x"]))
def test_two_words_of_plain_letters_are_repeated_as_all_tests_would(first, last):
    for pair in ((first, last), (last, first)):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(names, "_WORD", re.compile("(?!)"))
            tested = person_names(*pair)
        assert person_names(*pair) == tested == real_names(*pair)


@given(before=st.text(max_size=20), host=LETTERS, hidden=HIDDEN, dot=DOTS, top=LETTERS, after=st.text(max_size=20))
def test_no_dot_of_any_script_makes_a_host_in_a_message(before, host, hidden, dot, top, after):
    lure = f"{before} {host}{hidden}{dot}{hidden}{top}/{after}"
    assert person_names(lure, "Smith") == person_names("Maria", lure) == ("", "")
    assert company_name(lure) == ""


@given(st.text(), st.text())
def test_what_is_repeated_is_the_name_itself_and_never_an_address(first, last):
    shown = person_names(first, last)
    assert shown in (("", ""), real_names(plain(first, most=LENGTH), plain(last, most=LENGTH)))
    company = company_name(first)
    for text in (*shown, company):
        assert text.isprintable()
        assert not re.search(r"://|@|\w\.\w\w", unicodedata.normalize("NFKC", text))
        assert len(text) <= 60


@given(st.text(max_size=200))
def test_folding_again_changes_nothing(text):
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize("text", ["a" * 1_000_000, "a." * 500_000, "e\u0301\u0316" * 300_000, "a:" * 500_000])
def test_a_megabyte_is_cut_before_it_is_tested(text):
    assert person_names(text, text) == ("", "")
    assert len(company_name(text)) <= 60
