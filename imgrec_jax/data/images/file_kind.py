"""Recognise the kind of a file by its first bytes."""

_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "PDF",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "gzip",
    b"version https://git-lfs": "a pointer of Git LFS, whose file is not downloaded",
    b"<": "XML or HTML",
    b"{": "JSON",
}


def kind_of(data: bytes) -> str:
    """Return the kind of a file for messages ("JPEG", "empty"); "" if it is not known."""
    if not data:
        return "empty"
    return next((kind for start, kind in _STARTS.items() if data.startswith(start)), "")
