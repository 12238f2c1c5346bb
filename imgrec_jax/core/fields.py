"""What the fields of an example mean, and how each kind of field is treated."""

IGNORE = 255
"""The class number of pixels without loss and score, as those from outside the image."""
