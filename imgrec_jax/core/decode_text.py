"""Decode text files of unknown encoding: UTF-8, UTF-16, GBK or Latin-1."""

import codecs
import contextlib
import logging
import re

from imgrec_jax.core.errors import UserError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
GBK = "gb18030"
"""Python's name of the newest superset of GBK."""

_WIDE = ("utf-16", "utf-32")
"""Encodings whose declaration cannot be read without their byte order mark: it must be wrong."""

_NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"})
_SUPERSETS = {"gb2312": GBK, "gbk": GBK, "iso8859-1": "cp1252"}
"""What text of a declared encoding is in practice (as in the WHATWG encoding standard)."""

_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_FREQUENT = frozenset([*range(0xA1, 0xA4), *range(0xB0, 0xD8)])
"""First bytes of GB 2312's punctuation and of its level 1, the frequent characters."""

_SHOWN = 30  # characters of a guessed text in its warning
_reported: set[tuple[str, str]] = set()

_logger = logging.getLogger(__name__)


def decode_text(data: bytes, where: str, *, declared: str = "") -> str:
    """Decode a text by its byte order mark, as declared, as UTF-8, or as guessed.

    Text in no Unicode encoding is GBK (GB 18030) if its bytes look like frequent Chinese
    characters, otherwise Latin-1 (Windows-1252). A guess is logged, once per folder and encoding.

    Args:
        data: the bytes of the file.
        where: its name, for messages.
        declared: the encoding that the text itself names, as in XML; empty = none.

    Raises:
        UserError: it is not text in the encoding of its byte order mark, or holds null bytes.
    """
    if marked := next((name for mark, name in _MARKS if data.startswith(mark)), ""):
        return _decode(data, marked, where)
    known = _charset(declared) if declared else ""
    if known and not known.startswith(_WIDE):
        with contextlib.suppress(ValueError):
            return data.decode(known)
    text, encoding = _guess(data, where)
    if declared:
        wrong = "other bytes than the declared" if known else "the unknown encoding"
        report_guess(where, f"{wrong} '{declared}', read as {encoding}", text)
    elif encoding != "UTF-8":
        report_guess(where, f"not UTF-8, read as {encoding}", text)
    return text


def _decode(data: bytes, encoding: str, where: str) -> str:
    try:
        return data.decode(encoding)
    except ValueError as error:
        raise UserError(
            f"expected text in {encoding.upper().removesuffix('-SIG')}, got other bytes in "
            f"{where}; try saving it as UTF-8"
        ) from error


def _charset(declared: str) -> str:
    """Return Python's name of a declared encoding; "" if there is no such encoding of text."""
    try:
        name = codecs.lookup(declared).name
        b" ".decode(name, "replace")  # some codecs, such as hex, are not for text
    except (LookupError, ValueError):
        return ""
    return "" if name.replace("-", "_") in _NO_CHARSETS else _SUPERSETS.get(name, name)


def _guess(data: bytes, where: str) -> tuple[str, str]:
    """Return the text of bytes without a byte order mark, and the name of its encoding."""
    if b"\0" in data:
        return _decode_unmarked_utf16(data, where), "UTF-16"
    for encoding, name in (("utf-8", "UTF-8"), (GBK, "GBK"), ("cp1252", "Latin-1")):
        if encoding != GBK or looks_chinese(data):
            try:
                return data.decode(encoding), name
            except UnicodeDecodeError:
                continue
    return data.decode("latin-1"), "Latin-1"


def _decode_unmarked_utf16(data: bytes, where: str) -> str:
    """Decode UTF-16 by its ASCII characters, which have a null byte on one side."""
    even, odd = data[::2].count(0), data[1::2].count(0)
    if max(even, odd) > 2 * min(even, odd):
        text = _decode(data, "utf-16-le" if odd > even else "utf-16-be", where)
        if "\0" not in text:
            return text
    raise UserError(f"expected text, got null bytes in {where}; try saving it as UTF-8")


def looks_chinese(data: bytes) -> bool:
    """Return whether a text in no Unicode encoding is GBK.

    It is if most runs of bytes above 127 are Chinese words in GB 2312. Western words have single
    accents between ASCII letters; two in a row ("öß") are one of GB 2312's rare characters.
    """
    chinese = western = 0
    for run in _HIGH_BYTES.findall(data):
        if len(run) % 2 == 0 and (len(run) > 2 or run[0] in _FREQUENT):
            chinese += 1
        else:
            western += 1
    return chinese > western


def report_guess(where: str, what: str, text: str) -> None:
    """Log a guess with the first line of the text that depends on it, once for a folder."""
    key = where.rpartition("/")[0], what
    if key not in _reported:
        _reported.add(key)
        line = next((line for line in text.splitlines() if not line.isascii()), text[:_SHOWN])
        _logger.warning(
            "%s: %s: '%s'; if that is wrong, try saving it as UTF-8",
            where, what, line.strip()[:_SHOWN],
        )  # fmt: skip
