"""Random networks of the `transformers` package, their safetensors files and their logits.

    python reference.py KIND FOLDER [after_a_step]

With the third argument a network takes a step of plain SGD, and the folder `after` has its file.
Run by the tests in an interpreter that has torch, which may be another than ours.
"""

import sys

import numpy as np
import torch
import transformers

SIZE = 64
RATE = 0.1


def vit():
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        image_size=SIZE, patch_size=16, num_labels=7,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def convnext():
    config = transformers.ConvNextConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 2, 1, 1], num_labels=7, layer_scale_init_value=0.5
    )
    return transformers.ConvNextForImageClassification(config)


def resnet(layer_type="basic"):
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type=layer_type, num_labels=7
    )
    return transformers.ResNetForImageClassification(config)


def bottleneck():
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[32, 64], depths=[1, 2], num_labels=7
    )
    return transformers.ResNetForImageClassification(config)


def mobilenet_v2():
    config = transformers.MobileNetV2Config(depth_multiplier=0.5, num_labels=7)
    return transformers.MobileNetV2ForImageClassification(config)


def efficientnet_b0():
    config = transformers.EfficientNetConfig(
        width_coefficient=0.5, depth_coefficient=1.0, hidden_dim=640, num_labels=7
    )
    return transformers.EfficientNetForImageClassification(config)


def take_a_step(model, folder, images):
    """Train on one batch, as torch does it by itself: unbiased running variances, momentum 0.1."""
    model.train()
    loss = torch.nn.functional.cross_entropy(model(images).logits, torch.arange(len(images)) % 7)
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=RATE).step()
    model.save_pretrained(f"{folder}/after")


def main(kind, folder, after=""):
    torch.manual_seed(0)
    model = globals()[kind]().eval()
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.dtype == torch.float32:  # biases and statistics that are not 0 and 1
                noise = torch.randn_like(tensor)
                spread = noise.abs() if name.endswith("running_var") else noise
                tensor.add_(0.1 * spread)
        images = torch.randn(8 if after else 2, 3, SIZE, SIZE)
        logits = model(images).logits
    model.save_pretrained(folder)
    np.savez(
        f"{folder}/expected.npz", images=images.permute(0, 2, 3, 1).numpy(), logits=logits.numpy()
    )
    if after:
        take_a_step(model, folder, images)


if __name__ == "__main__":
    main(*sys.argv[1:])
