"""A trained network learns other colours, with its first layers as they are."""

import numpy as np

import imgrec_jax


def test_fine_tuning_with_a_new_head_on_a_frozen_body(trained, unseen, tmp_path):
    known = imgrec_jax.load(trained.workdir)
    config = imgrec_jax.get_config(
        "transfer",
        init_from=str(trained.workdir),
        epochs=30,
        eval_every=15,
        batch_size=8,
        augment="",
        ops="plain",
        log__report=False,
        data__source=unseen,
        data__classes="sun,sea",
        data__examples_per_class=4,
        data__normalization=known.config.data.normalization,
        model__name="convnet",
        model__convnet__width=4,
        model__convnet__hidden=16,
        optim__layers="conv1;conv2;hidden;head",
        optim__freeze="^conv",
        parallel__mode="single",
    )
    run = imgrec_jax.train(config, tmp_path / "run")
    assert run.labels == ("sea", "sun")
    assert run.metrics["test_accuracy"] == 1.0
    for layer in ("conv1", "conv2"):
        old, new = known.params[layer], run.params[layer]
        np.testing.assert_array_equal(new["kernel"], old["kernel"])
        np.testing.assert_array_equal(new["bias"], old["bias"])
    assert not np.array_equal(run.params["hidden"]["kernel"], known.params["hidden"]["kernel"])
    assert known.params["head"]["kernel"].shape == (16, 4)
    assert run.params["head"]["kernel"].shape == (16, 2)
