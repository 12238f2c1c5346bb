"""File name suffixes of images."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Suffixes of files that are read as images, in lower case."""

HEIC_SUFFIXES = (".heic", ".heif", ".hif", ".avif")
"""Suffixes of images that must be converted first, in lower case."""

HEIC_REMEDY = (
    "converting it to JPEG ('heif-convert', or 'magick mogrify -format jpg'; iPhones take JPEGs "
    "with the camera setting Most Compatible)"
)
