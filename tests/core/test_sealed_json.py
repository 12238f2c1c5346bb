import json

import pytest

from imgrec_jax.core.sealed_json import parse_object, seal

CONTENT = {"b": [1, 0.1, None, {"c": "猫"}], "a": {"x": True}}


def test_content_comes_back_without_its_digest():
    text = json.dumps(seal(CONTENT), indent=2, ensure_ascii=False)
    assert parse_object(text.encode()) == CONTENT
    assert parse_object(text.replace("content_sha256", "content_sha257").encode()) == CONTENT
    assert parse_object(json.dumps(CONTENT).encode()) == CONTENT  # of an earlier version


@pytest.mark.parametrize(
    ("old", "new"), [("0.1", "0.2"), ('"a"', '"b2"'), ("true", "1"), ("猫", "狗")]
)
def test_any_other_content_is_refused(old, new):
    text = json.dumps(seal(CONTENT), ensure_ascii=False)
    with pytest.raises(ValueError, match="does not match its digest"):
        parse_object(text.replace(old, new).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"3", b"\xff", b'{"a":' + b"[" * 100_000, b"\0" * 8])
def test_what_is_no_object_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        parse_object(data)
