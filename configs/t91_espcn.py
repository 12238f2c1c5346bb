"""Super-resolution x3 on Set5 with ESPCN, from the 91 images of Yang et al. (2010).

As t91_fsrcnn, with three convolutions and a pixel shuffle.
"""

from .t91_fsrcnn import get_config as t91_fsrcnn


def get_config():
    config = t91_fsrcnn()
    config.model.name = "espcn"
    config.optim.multipliers = ""
    return config
