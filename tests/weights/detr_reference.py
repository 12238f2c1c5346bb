"""A random DETR of the `transformers` package, its safetensors file, and what it says.

    python detr_reference.py SIZE FOLDER

SIZE is "small", or "whole" for the published network (with 91 classes). Run by the tests in an
interpreter that has torch, which may be another than ours.
"""

import sys

import numpy as np
import torch
import transformers


def small():
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[32, 64], depths=[1, 2], out_features=["stage2"]
    )
    return make(
        backbone, d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=48,
        decoder_ffn_dim=48, encoder_attention_heads=4, decoder_attention_heads=4,
        num_queries=6, num_labels=5,
    ), (64, 96)  # fmt: skip


def whole():
    return make(transformers.ResNetConfig(out_features=["stage4"]), num_labels=91), (224, 320)


def make(backbone, **settings):
    return transformers.DetrForObjectDetection(
        transformers.DetrConfig(
            use_timm_backbone=False,
            backbone=None,
            use_pretrained_backbone=False,
            backbone_config=backbone,
            **settings,
        )
    ).eval()


def main(size, folder):
    torch.manual_seed(0)
    model, (height, width) = globals()[size]()
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.ndim == 1:  # biases, norms and statistics that are not 0 and 1
                noise = torch.randn_like(tensor)
                tensor.add_(0.1 * (noise.abs() if name.endswith("running_var") else noise))
            elif tensor.ndim == 2:  # as large as trained ones, or nothing would depend on anything
                size = 1 if "query_position" in name else tensor.shape[1] ** -0.5
                tensor.copy_(size * torch.randn_like(tensor))
        images = torch.randn(2, 3, height, width)
        seen = torch.ones(2, height, width, dtype=torch.long)
        seen[1, height * 5 // 8 :] = 0  # the second image fills a part of its place alone
        seen[1, :, width * 3 // 4 :] = 0
        expected = {}
        for name, mask in (("plain", None), ("padded", seen)):
            outputs = model(images, pixel_mask=mask)
            expected[f"{name}_logits"], expected[f"{name}_boxes"] = (
                outputs.logits,
                outputs.pred_boxes,
            )
    model.save_pretrained(folder)
    expected |= {"images": images.permute(0, 2, 3, 1), "seen": seen.bool()}
    expected["parameters"] = torch.tensor(sum(p.numel() for p in model.parameters()))
    np.savez(f"{folder}/expected.npz", **{name: value.numpy() for name, value in expected.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
