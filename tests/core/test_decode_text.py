"""Text of unknown encoding."""

import codecs
import logging

import pytest

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError
from imgrec_jax.core.parse_json import parse_json


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image,label\na,猫\n", "utf-8"),
        ("image,label\na,猫\n", "utf-8-sig"),
        ("image,label\na,猫\n", "utf-16"),
        ("image,label\na,猫\n", "utf-32"),
        ("", "utf-8"),
    ],
)
def test_unicode_is_read_without_a_warning(caplog, text, encoding):
    assert decode_text(text.encode(encoding), "labels.csv") == text
    assert decode_text(codecs.BOM_UTF16_BE + text.encode("utf-16-be"), "labels.csv") == text
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("text", "encoding", "told"),
    [
        ("image,label\na,猫\nb,狗\n", "gbk", "GBK: 'a,猫'"),
        ("鹦鹉\n", "gbk", "GBK: '鹦鹉'"),  # both are rare characters
        ("两只狗,two\n", "gb18030", "GBK"),
        ("image,label\na,Bär\nb,Löwe\n", "latin-1", "Latin-1: 'a,Bär'"),
        ("Größe\n", "latin-1", "Latin-1"),  # two accents in a row are a Chinese character too
        ("forêt\nchâteau\nÉté\nniño\n", "latin-1", "Latin-1"),
        ("price,5 €\n", "cp1252", "Latin-1: 'price,5 €'"),
        ("a\x81\xe9b\n", "latin-1", "Latin-1"),
        ("image,label\na,一\n", "utf-16-le", "UTF-16: 'a,一'"),
        ("image,label\na,一\n", "utf-16-be", "UTF-16"),
    ],
)
def test_other_encodings_are_guessed_and_reported(tmp_path, caplog, text, encoding, told):
    assert decode_text(text.encode(encoding), f"{tmp_path}/labels.csv") == text
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path}/labels.csv: not UTF-8, read as {told}")
    assert line.endswith("try saving it as UTF-8")


def test_a_guess_is_reported_once_in_a_folder(tmp_path, caplog):
    for number in range(3):
        decode_text("狗".encode("gbk"), f"{tmp_path}/{number}.xml")
    assert len(caplog.messages) == 1
    decode_text("Bär".encode("latin-1"), f"{tmp_path}/3.xml")
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("declared", ["gbk", "GB2312", "Shift_JIS", "big5", "utf-16", "EUC-KR"])
def test_a_declared_encoding_is_taken(caplog, declared):
    text = "日本" if declared != "EUC-KR" else "한국"
    assert decode_text(text.encode(declared), "a.xml", declared=declared) == text
    assert caplog.messages == []


@pytest.mark.parametrize("declared", ["nonsense", "hex", "rot13", "unicode_escape", "a\0b", "é"])
def test_an_unknown_declared_encoding_is_reported(tmp_path, caplog, declared):
    caplog.set_level(logging.WARNING)
    assert decode_text("猫".encode(), f"{tmp_path}/a.xml", declared=declared) == "猫"
    (line,) = caplog.messages
    assert f"the unknown encoding '{declared}', read as UTF-8: '猫'" in line


@pytest.mark.parametrize("declared", ["utf-8", "ascii", "utf-16"])
def test_a_declaration_that_the_bytes_contradict_is_reported(tmp_path, caplog, declared):
    text = "两只狗 三只鸟!"
    assert decode_text(text.encode("gbk"), f"{tmp_path}/a.xml", declared=declared) == text
    (line,) = caplog.messages
    assert f"other bytes than the declared '{declared}', read as GBK: '{text}'" in line


@pytest.mark.parametrize(
    ("data", "declared", "told"),
    [
        (b"\xff\xfea", "", "expected text in UTF-16, got other bytes in x/a.txt; try "),
        (b"\xef\xbb\xbf\xff", "", "expected text in UTF-8, got other bytes"),
        (b"\0\0\0\0", "", "got null bytes in x/a.txt"),
        (b"a\0b\0c", "", "expected text in UTF-16"),
    ],
)
def test_other_bytes_are_refused_in_one_line(data, declared, told):
    with pytest.raises(UserError) as caught:
        decode_text(data, "x/a.txt", declared=declared)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_json_in_any_encoding():
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "gbk"):
        assert parse_json('{"a": "狗"}'.encode(encoding), "a.json") == {"a": "狗"}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"a": 1,\n]', "expected JSON, got x/a.json, line 2: "),
        (b"[" * 200_000, "got deeper nesting than Python reads in x/a.json; try "),
        (b'{"id": ' + b"9" * 5000 + b"}", "got one of thousands in x/a.json; try "),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(data, told):
    with pytest.raises(UserError) as caught:
        parse_json(data, "x/a.json")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
