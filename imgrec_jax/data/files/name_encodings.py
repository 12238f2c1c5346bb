"""Decode the names of files that are not all UTF-8."""

import contextlib
import zipfile
from collections.abc import Mapping

from imgrec_jax.core.decode_text import GBK, looks_chinese, report_guess


def decode_names(raw: Mapping[str, bytes]) -> dict[str, str]:
    """Return the text of file names, given their bytes by a key.

    If one is not UTF-8, all are decoded as GBK if they look Chinese (decoded one by one they could
    be mistaken: GBK's C3 A8 is also UTF-8); otherwise each is UTF-8 or Latin-1.
    """
    with contextlib.suppress(UnicodeDecodeError):
        return {name: data.decode("utf-8") for name, data in raw.items()}
    if looks_chinese(b"/".join(raw.values())):
        with contextlib.suppress(UnicodeDecodeError):
            decoded = {name: data.decode(GBK) for name, data in raw.items()}
            report_guess("names of files", "not UTF-8, read as GBK", "\n".join(decoded.values()))
            return decoded
    decoded = {}
    for name, data in raw.items():
        try:
            decoded[name] = data.decode("utf-8")
        except UnicodeDecodeError:
            decoded[name] = data.decode("cp1252", "backslashreplace")
            report_guess("names of files", "not UTF-8, read as Latin-1", decoded[name])
    return decoded


def decode_zip_names(members: list[zipfile.ZipInfo]) -> list[str]:
    """Decode names without the UTF-8 flag, all in the same encoding: UTF-8, GBK or cp437.

    `zipfile` reads them as cp437, which no Mac and no Chinese Windows writes.
    """
    plain = [m.orig_filename.encode("cp437") for m in members if not m.flag_bits & 0x800]
    encoding = "cp437"
    for candidate in (GBK, "utf-8"):
        if candidate == "utf-8" or looks_chinese(b"/".join(plain)):
            with contextlib.suppress(UnicodeError):
                for name in plain:
                    name.decode(candidate)
                encoding = candidate
    return [
        m.filename if m.flag_bits & 0x800 else m.orig_filename.encode("cp437").decode(encoding)
        for m in members
    ]
