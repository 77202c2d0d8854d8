"""Networks on several devices: what they learn and say is what one device gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from deepmem.config import Config
from deepmem.devices import devices, on_device
from deepmem.errors import UsageError

SCRIPT = Path(__file__).parent / "two_devices.py"


def test_two_devices_give_what_one_gives(trained: tuple[dict[str, Any], Path]) -> None:
    config, _ = trained
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    arguments = [config["save_lowest_loss_model_at"], config["input_paths"][0]]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_all_devices_are_gpus() -> None:
    if jax.default_backend() != "cpu":
        with on_device("all"):
            assert len(devices()) == len(jax.devices("gpu"))
        return
    with pytest.raises(UsageError, match=r"--device=all: there is no such GPU"), on_device("all"):
        pass
    assert Config.load({"device": "all"}, need=()).device == "all"
    assert devices() == (jax.devices()[0],)
