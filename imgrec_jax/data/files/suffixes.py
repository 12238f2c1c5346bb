"""File name suffixes of images."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""The file names, in lower case, that are taken for images."""

HEIC_SUFFIXES = (".heic", ".heif", ".hif", ".avif")
"""The file names, in lower case, of images that have to be converted first."""

HEIC_REMEDY = (
    "converting it to JPEG ('heif-convert', or 'magick mogrify -format jpg'; iPhones take JPEGs "
    "with the camera setting Most Compatible)"
)
