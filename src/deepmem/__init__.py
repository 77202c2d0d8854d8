"""DeepMEM: the Matrix Element Method, exact and learned."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepmem.config import Config
    from deepmem.data.weights import Weights
    from deepmem.errors import DeepMEMError, UsageError
    from deepmem.evaluation.report import report
    from deepmem.event import Status, Weight
    from deepmem.jobs.comparison import compare
    from deepmem.jobs.discriminants import discriminate
    from deepmem.jobs.exact import compute
    from deepmem.jobs.learning import refine
    from deepmem.jobs.likelihood import likelihood
    from deepmem.jobs.prediction import predict
    from deepmem.jobs.testing import test
    from deepmem.jobs.training import train
    from deepmem.physics.amplitude import matrix_element, processes
    from deepmem.physics.weights.leading_order import cross_section
    from deepmem.surrogate.model import Surrogate

# Names are imported when they are first used: `deepmem --version` must not wait for JAX.
_HOME = {
    "Config": "config",
    "DeepMEMError": "errors",
    "Status": "event",
    "Surrogate": "surrogate.model",
    "UsageError": "errors",
    "Weight": "event",
    "Weights": "data.weights",
    "compare": "jobs.comparison",
    "compute": "jobs.exact",
    "cross_section": "physics.weights.leading_order",
    "discriminate": "jobs.discriminants",
    "likelihood": "jobs.likelihood",
    "matrix_element": "physics.amplitude",
    "predict": "jobs.prediction",
    "processes": "physics.amplitude",
    "refine": "jobs.learning",
    "report": "evaluation.report",
    "test": "jobs.testing",
    "train": "jobs.training",
}

__all__ = [
    "Config",
    "DeepMEMError",
    "Status",
    "Surrogate",
    "UsageError",
    "Weight",
    "Weights",
    "compare",
    "compute",
    "cross_section",
    "discriminate",
    "likelihood",
    "matrix_element",
    "predict",
    "processes",
    "refine",
    "report",
    "test",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("deepmem")
    if name in _HOME:
        return getattr(import_module(f"deepmem.{_HOME[name]}"), name)
    raise AttributeError(f"module 'deepmem' has no attribute {name!r}")
