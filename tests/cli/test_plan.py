"""`train --plan`: figures without training, and without the devices."""

import math
import subprocess
import sys

import pytest

import imgrec_jax
from imgrec_jax.build.models import MODELS
from imgrec_jax.cli.plan import published_size
from imgrec_jax.core.errors import UsageError
from imgrec_jax.training.planning.accelerators import parse_devices
from imgrec_jax.training.planning.plan import Plan, decoding_cores
from imgrec_jax.training.planning.utilisation import UTILISATION, utilisation

COMMAND = [sys.executable, "-m", "imgrec_jax.main", "--config=cifar10_reference"]


def plan(tmp_path, *flags):
    done = subprocess.run(
        [*COMMAND, *flags], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert list(tmp_path.iterdir()) == []  # nothing is written
    return done


def rows(output):
    return {line[:11].strip(): line[13:] for line in output.splitlines()}


def test_a_plan_on_eight_gpus(tmp_path):
    done = plan(tmp_path, "--plan=8xh100", "--config.data.source=synthetic:50000,32x32x3,10")
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    assert table["devices"] == "8 x h100, 1 host of 8; mode pmap, data 8 x fsdp 1"
    assert table["parameters"] == "545,098"
    assert table["state"] == "6.5 MB on each device (exact)"  # parameters and Adam's two moments
    assert table["batch"].startswith("8 examples, 24.7 kB")  # 8 x (3,072 + label, index, ...)
    # 64 x 32.6 million, without the products with padding, and Adam once on each device.
    assert table["operations"] == "2.2 GFLOP a step (XLA's count)"
    assert table["steps"] == "15,640 (782 an epoch)"
    assert "hidden/kernel" in done.stdout
    names = [line[:11].strip() for line in done.stdout.splitlines()]
    assert names[:4] == ["devices", "speed", "time", "decoding"]  # what decides, before the rest
    assert table["decoding"] == "the decoded images stay in memory"
    assert "20% (assumed of others) of the peak" in table["step"]
    step = float(table["step"].split()[0]) / 1e3
    speed = float(table["speed"].split()[0].replace(",", ""))
    assert speed <= 64 / step * 1.2


@pytest.mark.slow
def test_a_plan_that_cuts_parameters(tmp_path):
    done = plan(
        tmp_path,
        "--plan=v5e-16",
        "--config.data.source=synthetic:50000,32x32x3,10",
        "--config.parallel.fsdp=4",
    )
    table = rows(done.stdout)
    assert table["devices"] == "16 x v5e, 4 hosts of 4; mode mesh, data 4 x fsdp 4"
    assert table["state"] == "1.6 MB on each device (exact)"
    assert "1/4" in next(line for line in done.stdout.splitlines() if "hidden/kernel" in line)
    assert table["operations"] == "2.1 GFLOP a step (XLA's count)"  # Adam once in all


def test_an_unknown_device_is_told(tmp_path):
    done = plan(tmp_path, "--plan=8xh10")
    assert done.returncode == 2
    assert "up to 1,024 devices, got '8xh10'; did you mean 'h100'?" in done.stderr


@pytest.mark.parametrize(
    ("text", "kind", "count"),
    [("8xh100", "h100", 8), ("1xl4", "l4", 1), ("v5e-64", "v5e", 64), ("v4-64", "v4", 32)],
)
def test_how_devices_are_called(text, kind, count):
    assert parse_devices(text) == (kind, count)


@pytest.mark.parametrize(
    "text", ["h100", "0xh100", "v5e", "8x", "xh100", "1025xh100", "99999999999xh100"]
)
def test_what_is_no_device(text):
    with pytest.raises(UsageError, match="expected --plan as 8xh100"):
        parse_devices(text)


def test_the_arithmetic_of_a_plan():
    """ResNet-50 on 8 H100 in bfloat16: 24.6 GFLOP an image, 25.6 million parameters."""
    resnet50 = Plan(
        kind="h100",
        devices=8,
        precision="bfloat16",
        utilisation=0.2,
        batch_size=1024,
        state_bytes=300_000_000,
        batch_bytes=20_000_000,
        temporary_bytes=7_680_000_000,
        step_flops=1024 * 24.6e9,
        reduced_bytes=102_400_000,
        steps=112_590,
        steps_per_epoch=1_251,
    )
    assert resnet50.memory_share == pytest.approx(0.1)
    assert resnet50.compute_seconds == pytest.approx(25.19e12 / (8 * 989e12 * 0.2), rel=1e-3)
    assert resnet50.reduce_seconds == pytest.approx(2 * 7 / 8 * 102.4e6 / 450e9)
    assert resnet50.minutes == pytest.approx(112_590 * resnet50.compute_seconds / 60)
    assert resnet50.images_per_second == pytest.approx(1024 / resnet50.compute_seconds)
    cores = decoding_cores(resnet50, 224 * 224 * 3, cropped=False)
    assert cores == math.ceil(resnet50.images_per_second / 1208)
    assert decoding_cores(resnet50, 1000, cropped=False) == 0  # 1.3 GB stay in memory
    assert decoding_cores(resnet50, 1000, cropped=True) == cores


def test_the_assumed_part_of_the_peak_is_that_of_the_docs():
    """docs/scaling.md: 20 % for ResNet-50 and 40 % for ViT-B."""
    assert utilisation("resnet50") == ("resnet", 0.2)
    assert utilisation("vit_b16") == ("vit", 0.4)
    assert utilisation("efficientnet_b0")[1] < utilisation("unet")[1]
    assert utilisation("unet")[0] == "others"
    assert all(any(name.startswith(family) for name in MODELS) for family in UTILISATION)


@pytest.mark.parametrize(
    ("source", "stand_in"),
    [
        ("imagenet:data/nowhere", "synthetic:1281167,192x192x3,1000"),
        ("imagenet:", "synthetic:1281167,192x192x3,1000"),
        ("cifar10", "synthetic:50000,32x32x3,10"),
        ("imagenet:.", ""),
        ("folder:data/nowhere", ""),
        ("digits", ""),
    ],
)
def test_known_data_need_not_be_there(source, stand_in):
    config = imgrec_jax.get_config("imagenet_resnet50", data__source=source, data__image_size=192)
    assert published_size(config) == stand_in
