"""The tables of docs/scaling.md: step time = compute + gradients / bandwidth - what overlaps.

    python -m benchmarks.scaling_model

Arithmetic, no measurement. Sizes and operations of the networks are the published ones, those of
devices stand in imgrec_jax/training/planning/accelerators.py.
"""

from typing import NamedTuple

from imgrec_jax.training.planning.accelerators import DEVICES
from imgrec_jax.training.planning.utilisation import UTILISATION

BACKWARD = 2 / 3  # of a step's operations; gradients travel while it goes on
STATE_BYTES = 12  # of a parameter: itself and Adam's two moments, in float32
GRADIENT_BYTES = 4


class Network(NamedTuple):
    """A network as it is published.

    Attributes:
        parameters: how many.
        flops: of one image in training, three times those of inference.
        utilisation: the part of a device's peak that well-tuned code reaches with it.
    """

    parameters: float
    flops: float
    utilisation: float


class Cluster(NamedTuple):
    """Devices of a kind, and the bytes per second that each sends into the slowest link."""

    kind: str
    devices: int
    bandwidth: float


NETWORKS = {
    "ResNet-50 (224)": Network(25.6e6, 3 * 2 * 4.09e9, UTILISATION["resnet"]),
    "ViT-B/16 (224)": Network(86.6e6, 3 * 2 * 17.56e9, UTILISATION["vit"]),
}
CLUSTERS = {
    "8 x H100": Cluster("h100", 8, DEVICES["h100"].bandwidth),
    "TPU v5e-64": Cluster("v5e", 64, DEVICES["v5e"].bandwidth),
    "512 x H100, 400 Gb/s each": Cluster("h100", 512, 50e9),
}


def main() -> None:
    """Print one row for each network on each cluster."""
    print("| network | devices | compute | gradients | step | hidden from a batch of | images/s |")
    print("|---|---|---|---|---|---|---|")
    for name, network in NETWORKS.items():
        for place, cluster in CLUSTERS.items():
            speed = DEVICES[cluster.kind].flops["bfloat16"] * network.utilisation
            compute = 128 * network.flops / speed
            sent = 2 * (cluster.devices - 1) / cluster.devices * network.parameters * GRADIENT_BYTES
            reduce = sent / cluster.bandwidth
            step = compute + max(0.0, reduce - BACKWARD * compute)
            hides = reduce * speed / (BACKWARD * network.flops)
            print(
                f"| {name} | {place} | {1e3 * compute:.1f} ms | {1e3 * reduce:.2f} ms | "
                f"{1e3 * step:.1f} ms | {hides:.0f} a device | "
                f"{128 * cluster.devices / step:,.0f} |"
            )
    print("\n| network | state on each device | fsdp=8 | fsdp=64 |\n|---|---|---|---|")
    for name, network in NETWORKS.items():
        sizes = [STATE_BYTES * network.parameters / n / 1e6 for n in (1, 8, 64)]
        print(f"| {name} | " + " | ".join(f"{size:,.0f} MB" for size in sizes) + " |")


if __name__ == "__main__":
    main()
