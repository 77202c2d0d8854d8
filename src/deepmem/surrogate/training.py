"""Training: the loop over epochs.

A model is an ensemble: members of one architecture that differ in their initial values, in the order of
their batches, and in the part of the training rows that they never see (a fifth each, with five members), so
that each row has one member whose error on it is honest. `members` says how they share a machine.

The loss is the importance-weighted mean of squared errors of the standardised −log10 w. Where labels have
errors of their own, it is the deviance of the weight itself, which noise doesn't bias: with u = ln(w_label /
w_predicted), e^u − u − 1 (≈ u²/2 for small u) is least at E[w_label], a square of logarithms at exp E[ln w],
which for a noise of 30 % is 5 % lower. It grows linearly beyond u = 1.5, a factor 4.5, so that a wild label
does no harm.

The default network is trained with Muon (momentum, orthogonalised), whose steps are equally large in all
directions of a weight matrix: on Drell-Yan weights, at equal time, |Δ| of 68 % is 0.0004 against Adam's
0.0017, and it does not mind inputs that only carry noise. The rate rises over the first steps and falls as a
cosine over all epochs.

An epoch is one compiled call over data in memory, or one call per block of streamed data; no batch is
dropped. Everything random is drawn from (seed, epoch), so a run that is killed and resumed ends as it would
have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from deepmem.data.files import whole_file
from deepmem.data.loaders import Loader, Rows, ahead
from deepmem.devices import devices
from deepmem.errors import DeepMEMError, UsageError
from deepmem.evaluation.history import Epoch
from deepmem.surrogate.members import State, Steps, run_members, sums_of
from deepmem.surrogate.network import Network, member_predictions
from deepmem.surrogate.preparation import Preparation, Prepared, left_out_by

# Rows in one call over streamed data: enough that the call itself costs nothing, few enough to be a small
# block.
_STREAM_ROWS = 65_536
_EVALUATION_ROWS = 8_192


class Recipe(NamedTuple):
    """How to train."""

    network: str
    learning_rate: float
    batch_size: int
    epochs: int
    patience: int
    shuffle: bool
    seed: int
    members: int = 1


@lru_cache(maxsize=2)
def make_optimiser(network: str) -> optax.GradientTransformation:
    """Muon; Adam for the reference network, as the original had it. Both at a rate of 1: `rates` says by
    what a step is multiplied.

    The same argument gives the same object, which compiled steps are kept by.
    """
    if network == "reference":
        return optax.adam(1.0)
    # equinox keeps a matrix as [outputs, inputs]
    axes = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=0)
    return optax.contrib.muon(
        1.0,
        muon_weight_dimension_numbers=lambda params: jax.tree.map(
            lambda p: axes if p.ndim == 2 else None, params
        ),
    )


def rates(recipe: Recipe, total: int, steps: np.ndarray) -> Float[np.ndarray, " steps"]:
    """The rate of each of some steps of `total`, counted from 0; constant for the reference network.

    r(k) = r k/w   for k < w = min(500, total/10),
    r(k) = r (1 + 999 (1 + cos π(k − w)/(total − w))/2) / 1000   from there on
    """
    if recipe.network == "reference":
        return np.full(len(steps), recipe.learning_rate, np.float32)
    warmup = min(500, total // 10)
    phase = np.pi * np.clip((steps - warmup) / (total - warmup), 0, 1)
    falling = (1 + 999 * (1 + np.cos(phase)) / 2) / 1000
    shape = np.where(steps < warmup, steps / max(warmup, 1), falling)
    return (recipe.learning_rate * shape).astype(np.float32)


@eqx.filter_jit
def _moments(optimiser: optax.GradientTransformation, networks: Network) -> PyTree:
    """What the optimiser begins with, for each of some stacked networks."""
    return eqx.filter_vmap(lambda n: optimiser.init(eqx.filter(n, eqx.is_inexact_array)))(networks)


@eqx.filter_jit
def _evaluate(
    networks: Network, features: Array, target: Array, importance: Array, scale: Array | None
) -> tuple[Array, Array]:
    mean = member_predictions(networks, features).mean(axis=0)
    return sums_of(mean - target, importance, scale)


class Training:
    """A run that can be stopped after any epoch and taken up again: `for record in training: ...`.

    **Arguments:** `loader`, with the rows; `preparation`, its scaler fitted; `rows`, how many training rows
    can be learned from; `networks`, the members with their initial values, stacked; `recipe`.
    """

    def __init__(
        self, loader: Loader, preparation: Preparation, rows: int, networks: Network, recipe: Recipe
    ):
        self.recipe = recipe
        self.best = networks
        self.best_epoch = 0
        self.epoch = 0
        self.best_loss = np.inf
        self._loader = loader
        self._preparation = preparation
        scaler = preparation.scaler
        assert scaler is not None
        noisy = bool((scaler.label_noise > 0).any())
        with jax.enable_x64(False):
            self._scale = jnp.asarray(np.log(10) * scaler.target_std, jnp.float32) if noisy else None
        self._total_steps = recipe.epochs * self._count_steps(rows)
        self._steps = 0
        self._optimiser = make_optimiser(recipe.network)
        self._state = State(networks, _moments(self._optimiser, networks))
        self._compiled = False
        self._resident: Prepared | None = None
        self._resident_draw = np.zeros((0, 1), dtype=np.uint32)
        self._validation: list[tuple[Any, ...]] | None = None

    @property
    def finished(self) -> str | None:
        """Why there is nothing more to do, or None."""
        if self.epoch >= self.recipe.epochs:
            return f"all {self.recipe.epochs} epochs done"
        if self.epoch - self.best_epoch >= self.recipe.patience:
            return f"stopped early: no lower validation loss in {self.recipe.patience} epochs"
        return None

    def __iter__(self) -> Iterator[Epoch]:
        while not self.finished:
            yield self.run_epoch()

    def run_epoch(self) -> Epoch:
        """Train on every training row once, then measure the validation loss.

        **Raises** `DeepMEMError` where the loss is no longer finite.
        """
        begin = perf_counter()
        total = np.zeros(2)
        events = 0
        # single precision whatever the user's process has chosen
        with jax.enable_x64(False):
            for data, order, present in self._blocks():
                taken = self._steps + np.arange(order.shape[1])
                steps = Steps(data, order, present, rates(self.recipe, self._total_steps, taken), self._scale)
                self._steps += len(taken)
                self._state, sums = run_members(self._state, self._optimiser, steps, self._compiled)
                self._compiled = True
                total += np.asarray(sums, dtype=np.float64).sum(axis=0)
                events += int(present.sum())
            seconds = perf_counter() - begin
            self.epoch += 1
            validation = self._validation_loss()
        epoch = Epoch(self.epoch, total[0] / total[1], validation, events / seconds, seconds)
        if not np.isfinite(epoch.loss):
            raise DeepMEMError(
                f"the loss is {epoch.loss} after epoch {self.epoch}: the training diverged. "
                f"Use a lower LearningRate than {self.recipe.learning_rate}"
            )
        if epoch.deciding < self.best_loss:
            self.best_loss, self.best, self.best_epoch = epoch.deciding, self._state.network, self.epoch
        return epoch

    def _blocks(self) -> Iterator[tuple[Prepared, np.ndarray, np.ndarray]]:
        """The training rows of this epoch as arrays, the order in which each member takes them, and which
        places are filled."""
        rng = np.random.default_rng([self.recipe.seed, self.epoch])
        if self._loader.resident:
            if self._resident is None:
                prepared = [self._preparation(rows) for rows in self._loader.scan("train")]
                together = Prepared(*(np.concatenate(parts) for parts in zip(*prepared, strict=True)))
                self._resident_draw = together.draw
                self._resident = Prepared(*map(jax.device_put, together))
            yield (self._resident, *self._orders(self._resident_draw, rng))
            return
        size = max(1, _STREAM_ROWS // self.recipe.batch_size) * self.recipe.batch_size
        held: Prepared | None = None
        rows = self._loader.shuffled(rng) if self.recipe.shuffle else self._loader.scan("train")
        for fresh in ahead(self._prepared(rows)):
            held = fresh if held is None else Prepared(*map(np.concatenate, zip(held, fresh, strict=True)))
            while len(held.features) >= size:
                yield Prepared(*(array[:size] for array in held)), *self._orders(held.draw[:size])
                held = Prepared(*(array[size:] for array in held))
        if held is not None and len(held.features):
            rest = -len(held.features) % self.recipe.batch_size
            padded = Prepared(*(np.pad(array, ((0, rest), (0, 0))) for array in held))
            yield padded, *self._orders(held.draw)

    def _prepared(self, rows: Iterator[Rows]) -> Iterator[Prepared]:
        """Of each chunk; where the next one is worked out in a thread, on the same device."""
        there = devices()[0]

        def prepared(chunk: Rows) -> Prepared:
            with jax.default_device(there):  # a setting of a thread
                return self._preparation(chunk)

        return map(prepared, rows)

    def _orders(
        self, draw: np.ndarray, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """For each member, the rows that it may see, cut into batches; what is left of the last ones is
        filled up with places that are not present. With a generator, in an order of its own."""
        count, batch = len(draw), self.recipe.batch_size
        orders = []
        for member in range(self.recipe.members):
            rows = np.arange(count)
            if rng is not None and self.recipe.shuffle:
                rows = rng.permutation(count)
            if self.recipe.members > 1:
                rows = rows[left_out_by(draw[rows, 0], self.recipe.members) != member]
            orders.append(rows)
        steps = max(self._count_steps(count), *(-(-len(rows) // batch) for rows in orders))
        places = np.zeros((len(orders), steps * batch), dtype=np.int32)
        present = np.zeros(places.shape, dtype=bool)
        for member, rows in enumerate(orders):
            places[member, : len(rows)], present[member, : len(rows)] = rows, True
        shape = (len(orders), steps, batch)
        return places.reshape(shape), present.reshape(shape)

    def _count_steps(self, rows: int) -> int:
        """Steps over so many rows: the same for each member and block, so that one compiled call does."""
        members = self.recipe.members
        seen = rows if members == 1 else rows * (members - 1) / members + 2 * np.sqrt(rows / members)
        return -(-int(np.ceil(seen)) // self.recipe.batch_size)

    def _validation_loss(self) -> float | None:
        sums = np.zeros(2)
        for batch in self._validation or self._validation_batches():
            sums += np.asarray(
                _evaluate(self._state.network, batch[0], batch[1], batch[2], self._scale), dtype=np.float64
            )
        return float(sums[0] / sums[1]) if sums[1] else None

    def _validation_batches(self) -> Iterator[tuple[Any, ...]]:
        kept = []
        for rows in self._loader.scan("validation") if self._loader.size("validation") else ():
            prepared = self._preparation(rows)
            for at in range(0, len(prepared.features), _EVALUATION_ROWS):
                batch = tuple(array[at : at + _EVALUATION_ROWS] for array in prepared)
                missing = _EVALUATION_ROWS - len(batch[0])
                # importance 0 for what fills the last batch up
                batch = tuple(jax.device_put(np.pad(array, ((0, missing), (0, 0)))) for array in batch)
                if self._loader.resident:
                    kept.append(batch)
                yield batch
        if kept:
            self._validation = kept

    # Checkpoints: what `__iter__` needs to go on as if nothing had happened

    def save(self, path: Path, fingerprint: dict[str, Any]) -> None:
        """Write the checkpoint, whole; `fingerprint` is what a resumed run must agree on."""
        from safetensors.numpy import save_file

        leaves = jax.tree.leaves(eqx.filter((self._state, self.best), eqx.is_array))
        arrays = {f"{i:05d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        about = {
            "epoch": self.epoch,
            "steps": self._steps,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "recipe": self.recipe._asdict(),
            **fingerprint,
        }
        with whole_file(path) as temporary:
            save_file(arrays, temporary, metadata={"deepmem_checkpoint": json.dumps(about)})

    def resume(self, path: Path, fingerprint: dict[str, Any]) -> None:
        """Take up a run at its checkpoint.

        **Raises** `UsageError` where there is none, or it belongs to another configuration.
        """
        from safetensors import SafetensorError, safe_open

        if not path.exists():
            raise UsageError(f"nothing to resume: {path} does not exist; train without --resume first")
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads((file.metadata() or {})["deepmem_checkpoint"])
                arrays = [file.get_tensor(name) for name in sorted(file.keys())]
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise UsageError(f"{path} is not a checkpoint of DeepMEM, or damaged: {error}") from None
        expected = {"recipe": self.recipe._asdict(), **fingerprint}
        for key, value in expected.items():
            if json.loads(json.dumps(value)) != about.get(key):
                raise UsageError(
                    f"{path} was made with other settings ({_difference(about.get(key), value)}): "
                    "resume with those, or train anew without --resume"
                )
        template = (self._state, self.best)
        dynamic, static = eqx.partition(template, eqx.is_array)
        leaves, tree = jax.tree.flatten(dynamic)
        if [np.shape(leaf) for leaf in leaves] != [array.shape for array in arrays]:
            raise UsageError(f"{path} belongs to a network of another shape: train anew without --resume")
        restored = jax.tree.unflatten(tree, [jax.device_put(array) for array in arrays])
        self._state, self.best = eqx.combine(restored, static)
        self.epoch, self._steps = about["epoch"], about["steps"]
        self.best_epoch, self.best_loss = about["best_epoch"], about["best_loss"]


def _difference(old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        return ", ".join(
            f"{key}: {old.get(key)} then, {new[key]} now" for key in new if old.get(key) != new[key]
        )
    return f"{old} then, {new} now"
