"""Many networks under vmap beside one after the other: where it pays.

    python -m benchmarks.together [--widths=4,16,32] [--networks=2,4,16] [--rounds=5]

For each width of the ConvNet and each number of networks: the seconds of a training step of all
of them one after the other, over those of one step of all together, batch 64 each, on 32x32
images. Above 1 vmap is the quicker. Prints a table and one JSON line.
"""

import argparse
import json
import statistics

from benchmarks.steps import Steps, configured, made_up
from benchmarks.turns import environment, spread
from imgrec_jax.sweeps import vmap_sweep
from imgrec_jax.training.host import host

_STEPS = 4  # in a block; where an epoch is one call, all of it


def main() -> None:
    """Time each pair in turn and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", default="4,16,32")
    parser.add_argument("--networks", default="2,4,16")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    host.keep_compiled_programs()
    host.make_cpu_devices("auto", 64)
    found = {}
    print(f"{'width':>6} {'networks':>9}  one after the other / together, n={options.rounds}")
    for width in map(int, options.widths.split(",")):
        keys = {"model__convnet__width": width, "data__source": "synthetic:6400,32x32x3,10"}
        alone = made_up("convnet", 64, **keys)
        one = Steps(alone)
        for networks in map(int, options.networks.split(",")):
            configs = [configured("convnet", 64, seed=seed, **keys) for seed in range(networks)]
            many = Steps(vmap_sweep.build_together(configs, alone))
            for steps in (one, many):
                steps.take(_STEPS)
            pairs = [
                (networks * one.take(_STEPS), many.take(_STEPS)) for _ in range(options.rounds)
            ]
            ratios = [separate / stacked for separate, stacked in pairs]
            rate = networks * 64 / statistics.median(stacked for _, stacked in pairs)
            print(f"{width:>6} {networks:>9}  {spread(ratios)}  {rate:,.0f} images/s", flush=True)
            found[f"{width}x{networks}"] = {"ratios": ratios, "images_per_second": rate}
    print(json.dumps({"benchmark": "together", "networks": found, **environment()}))


if __name__ == "__main__":
    main()
