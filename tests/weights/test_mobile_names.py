"""The names that MobileNetV2 and EfficientNet-B0 have in published files, of all their tensors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.models.mobile import efficientnet_b0, mobilenet_v2
from imgrec_jax.weights.convert import SCHEMES, find_scheme, read_variables, write_variables

NAMES = {
    "mobilenet_v2": {
        "timm": [
            ("conv_stem.weight", (32, 3, 3, 3)),
            ("blocks.0.0.conv_dw.weight", (32, 1, 3, 3)),
            ("blocks.0.0.bn2.running_var", (16,)),
            ("blocks.1.0.conv_pw.weight", (96, 16, 1, 1)),
            ("blocks.1.0.conv_pwl.weight", (24, 96, 1, 1)),
            ("blocks.6.0.bn3.bias", (320,)),
            ("conv_head.weight", (1280, 320, 1, 1)),
            ("classifier.weight", (1000, 1280)),
        ],
        "torchvision": [
            ("features.0.1.weight", (32,)),
            ("features.1.conv.0.0.weight", (32, 1, 3, 3)),
            ("features.1.conv.1.weight", (16, 32, 1, 1)),
            ("features.1.conv.2.running_mean", (16,)),
            ("features.2.conv.1.0.weight", (96, 1, 3, 3)),
            ("features.2.conv.2.weight", (24, 96, 1, 1)),
            ("features.17.conv.3.bias", (320,)),
            ("features.18.0.weight", (1280, 320, 1, 1)),
            ("classifier.1.bias", (1000,)),
        ],
        "huggingface": [
            ("mobilenet_v2.conv_stem.first_conv.convolution.weight", (32, 3, 3, 3)),
            ("mobilenet_v2.conv_stem.reduce_1x1.normalization.bias", (16,)),
            ("mobilenet_v2.layer.0.expand_1x1.convolution.weight", (96, 16, 1, 1)),
            ("mobilenet_v2.layer.15.reduce_1x1.convolution.weight", (320, 960, 1, 1)),
            ("mobilenet_v2.conv_1x1.convolution.weight", (1280, 320, 1, 1)),
        ],
    },
    "efficientnet_b0": {
        "timm": [
            ("blocks.0.0.se.conv_reduce.weight", (8, 32, 1, 1)),
            ("blocks.0.0.conv_pw.weight", (16, 32, 1, 1)),
            ("blocks.2.1.conv_dw.weight", (240, 1, 5, 5)),
            ("blocks.6.0.conv_pwl.weight", (320, 1152, 1, 1)),
            ("bn2.running_mean", (1280,)),
        ],
        "torchvision": [
            ("features.1.0.block.0.0.weight", (32, 1, 3, 3)),
            ("features.1.0.block.1.fc1.weight", (8, 32, 1, 1)),
            ("features.1.0.block.2.0.weight", (16, 32, 1, 1)),
            ("features.2.1.block.2.fc2.bias", (144,)),
            ("features.2.1.block.3.1.weight", (24,)),
            ("features.8.0.weight", (1280, 320, 1, 1)),
        ],
        "huggingface": [
            ("efficientnet.embeddings.batchnorm.weight", (32,)),
            ("efficientnet.encoder.blocks.0.squeeze_excite.reduce.weight", (8, 32, 1, 1)),
            ("efficientnet.encoder.blocks.15.projection.project_bn.bias", (320,)),
            ("efficientnet.encoder.top_conv.weight", (1280, 320, 1, 1)),
        ],
    },
}
MODELS = {"mobilenet_v2": mobilenet_v2, "efficientnet_b0": efficientnet_b0}
COUNTS = {"mobilenet_v2": 314 - 52, "efficientnet_b0": 360 - 49}
"""Entries of torchvision's files, less the counters of batches."""


@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_goes_there_and_back(model):
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    like = jax.eval_shape(MODELS[model](num_classes=1000).init, jax.random.key(0), images)
    numbers = iter(range(10_000))
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, next(numbers), leaf.dtype), like)
    for scheme in SCHEMES:
        tensors = write_variables(variables, kind="MobileNet", scheme=scheme)
        assert len(tensors) == COUNTS[model]
        for name, shape in NAMES[model][scheme]:
            assert tensors[name].shape == shape, name
        assert find_scheme("MobileNet", list(tensors)) == scheme
        read = read_variables(tensors, variables, kind="MobileNet", scheme=scheme)
        jax.tree.map(np.testing.assert_array_equal, read, variables)
        del tensors[NAMES[model][scheme][0][0]]
        with pytest.raises(UserError, match="got 1 that do not fit: missing st"):
            read_variables(tensors, variables, kind="MobileNet", scheme=scheme)
