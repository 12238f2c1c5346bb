"""Colours of classes in drawings."""


def color(number: int) -> tuple[int, int, int]:
    """Return the colour (r, g, b) of a class: Pascal VOC's palette, where 0 is black.

    Each three bits of the number go to red, green and blue, from their highest bit down.
    """
    channels = [0, 0, 0]
    for step in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * step + channel) & 1) << (7 - step)
    return channels[0], channels[1], channels[2]
