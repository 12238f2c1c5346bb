"""Errors for images that cannot be decoded, each with the file and the way out."""

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.suffixes import HEIC_REMEDY
from imgrec_jax.data.images.file_kind import kind_of

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""The kinds of images that are read, by Pillow's names."""

MAX_PIXELS = 178_000_000
"""Larger images are refused from the header of the file, before decoding."""

_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif")


def damaged(name: str, why: str) -> UserError:
    """Return the error for an image that is truncated or damaged."""
    return UserError(
        f"expected an intact image, got {name}: {why}; try copying it again or removing it"
    )


def too_large(name: str) -> UserError:
    """Return the error for an image of more than `MAX_PIXELS`."""
    return UserError(
        f"expected an image of at most {MAX_PIXELS:,} pixels, got more in {name}; "
        "try making it smaller or removing it"
    )


def unidentified(name: str, data: bytes) -> UserError:
    """Return the error for a file that is no image of the `FORMATS`."""
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:  # ISO/IEC 23008-12
        return UserError(
            f"expected an image ({', '.join(FORMATS)}), got {name}, which is HEIC or AVIF; "
            f"try {HEIC_REMEDY}"
        )
    kind = kind_of(data)
    what = "damaged or of another kind" if not kind or kind.upper() in FORMATS else kind
    return UserError(
        f"expected an image ({', '.join(FORMATS)}), got {name} ({len(data)} bytes), which "
        f"is {what}; try removing or converting it"
    )


def check_size(width: int, height: int, name: str) -> None:
    """Raise an error if an image has no pixels, or more than `MAX_PIXELS`."""
    if width < 1 or height < 1:
        raise damaged(name, f"its size is {width}x{height}")
    if width * height > MAX_PIXELS:
        raise too_large(name)
