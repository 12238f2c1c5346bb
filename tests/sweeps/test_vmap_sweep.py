"""Networks trained side by side are those that are trained alone."""

import json

import jax
import numpy as np
import pytest

import imgrec_jax
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.core.errors import UsageError
from imgrec_jax.sweeps import vmap_sweep

SETTINGS = {
    "epochs": 2,
    "batch_size": 16,
    "augment": "pad_crop(pad=1)|flip",
    "mix": "mixup(alpha=0.2)",
    "ops": "plain",
    "data__source": "synthetic:40,6x6x3,3",
    "model__convnet__width": 2,
    "model__convnet__hidden": 4,
    "optim__ema_decay": 0.9,
    "optim__name": "adamw",
    "parallel__mode": "single",
    "log__report": False,
    "log__every_steps": 2,
}
CASES = [(0, 1e-3, 0.0, 0.999), (1, 3e-3, 0.5, 0.99)]


@pytest.fixture(scope="module")
def configs():
    return [
        imgrec_jax.get_config(
            "base",
            seed=seed,
            optim__learning_rate=rate,
            optim__adamw__weight_decay=decay,
            optim__adamw__b2=b2,
            **SETTINGS,
        )
        for seed, rate, decay, b2 in CASES
    ]


def test_each_network_is_what_it_would_be_alone(configs, tmp_path):
    folders = [tmp_path / f"run{k}" for k in range(2)]
    many = vmap_sweep.build_together(configs, build_experiment(configs[0]))
    vmap_sweep.train_together(configs, many, tmp_path / "together", folders)
    with pytest.raises(UsageError, match=r"expected the sweep that .* was started with"):
        vmap_sweep.train_together(configs[:1], many, tmp_path / "together", folders)
    alone = imgrec_jax.train(configs[1], tmp_path / "alone")
    one = imgrec_jax.load(folders[1])
    for leaf, other in zip(jax.tree.leaves(one.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-4, atol=1e-6)
    assert one.config["seed"] == 1
    assert one.result["trained_together"] == 2
    assert one.result["parameters"] == alone.result["parameters"] == 167

    texts = [folder / "metrics.jsonl" for folder in (folders[1], tmp_path / "alone")]
    logged = [[json.loads(line) for line in t.read_text("utf-8").splitlines()] for t in texts]
    for event, expected in zip(*logged, strict=True):
        assert event.pop("kind") == expected.pop("kind")
        assert ("images_per_second" in event) == ("images_per_second" in expected)
        for record in (event, expected):
            record.pop("images_per_second", 0)
        assert event == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_what_is_measured_before_changes_nothing(configs, tmp_path):
    runs = []
    for measured in (False, True):
        alone = build_experiment(configs[0])
        many = vmap_sweep.build_together(configs, alone)
        if measured:
            assert all(0 < s < np.inf for s in vmap_sweep.faster_together(alone, many, 2))
            assert vmap_sweep.faster_together(alone, many, 2, longest=0.0)[1] == np.inf
        folders = [tmp_path / f"{measured}{k}" for k in range(2)]
        vmap_sweep.train_together(configs, many, tmp_path / f"together{measured}", folders)
        assert vmap_sweep.begun(configs, tmp_path / f"together{measured}")
        runs.append([imgrec_jax.load(folder).params for folder in folders])
    jax.tree.map(np.testing.assert_array_equal, *runs)


def test_what_cannot_be_stacked_is_refused(configs):
    with pytest.raises(UsageError, match=r"got batch_size in the grid; try --backend=local"):
        vmap_sweep.check_together(
            [imgrec_jax.get_config("base", batch_size=size, seed=size) for size in (8, 16)]
        )
    with pytest.raises(UsageError, match=r"got optim.sgd.momentum=0, which leaves a part"):
        vmap_sweep.check_together(
            [
                imgrec_jax.get_config("base", optim__name="sgd", optim__sgd__momentum=momentum)
                for momentum in (0.9, 0.0)
            ]
        )
    sharp = imgrec_jax.get_config("base", optim__sam_rho=0.1)
    with pytest.raises(UsageError, match=r"optim.sam_rho"):
        vmap_sweep.check_together([sharp])
    slow = imgrec_jax.get_config("base", optim__lookahead="lookahead(every=5)")
    with pytest.raises(UsageError, match=r"optim.lookahead"):
        vmap_sweep.check_together([slow])
