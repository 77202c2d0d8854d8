"""Inputs that make no sense: each has a reason of its own, touches no other event, and gives no number."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepmem.data.table import as_table
from deepmem.errors import DeepMEMWarning, UsageError
from deepmem.event import Status, Weight
from deepmem.inputs import Reason, count_reasons
from deepmem.physics.weights import engine, visible
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.visible import examined

PAIR = {
    "lep1_PT": 40.0, "lep1_Eta": 0.5, "lep1_Phi": 0.1, "lep1_Charge": -1.0,
    "lep2_PT": 42.0, "lep2_Eta": -0.3, "lep2_Phi": 3.0, "lep2_Charge": 1.0,
}  # fmt: skip
TOPS = PAIR | {
    "lep1_PDG": 11, "lep2_PDG": -13,
    "j1_PT": 60.0, "j1_Eta": 0.3, "j1_Phi": 1.5, "j1_M": 7.0,
    "j2_PT": 55.0, "j2_Eta": -0.9, "j2_Phi": -1.2, "j2_M": 6.0, "MET": 30.0, "MET_Phi": 2.0,
}  # fmt: skip
FOUR = {
    f"lep{i}_{n}": v for i in (1, 2, 3, 4) for n, v in (("PT", 20.0 + i), ("Eta", 0.2 * i), ("Phi", i - 2.0))
}
FOUR |= {f"lep{i}_Charge": (-1.0) ** i for i in (1, 2, 3, 4)}
FOUR |= {"lep1_PDG": 11, "lep2_PDG": -11, "lep3_PDG": 13, "lep4_PDG": -13}

CASES = [
    ("drell_yan", PAIR, {}, Reason.NONE),
    ("drell_yan", PAIR, {"lep1_PT": np.nan}, Reason.NOT_FINITE),
    ("drell_yan", PAIR, {"lep2_Phi": -np.inf}, Reason.NOT_FINITE),
    ("drell_yan", PAIR, {"lep1_PT": 0.0}, Reason.PT),
    ("drell_yan", PAIR, {"lep2_PT": -999.0}, Reason.PT),
    ("drell_yan", PAIR, {"lep1_Eta": -99.0}, Reason.ETA),
    ("drell_yan", PAIR, {"lep1_Eta": 10.0}, Reason.ETA),
    ("drell_yan", PAIR, {"lep2_Eta": 999.0}, Reason.ETA),
    ("drell_yan", PAIR, {"lep2_Phi": 2 * np.pi + 0.2}, Reason.PHI),
    ("drell_yan", PAIR, {"lep2_Phi": -172.0}, Reason.PHI),
    ("drell_yan", PAIR, {"lep2_Phi": 2 * np.pi}, Reason.NONE),
    ("drell_yan", PAIR, {"lep1_Charge": 0.0}, Reason.CHARGE),
    ("drell_yan", PAIR, {"lep1_Charge": -3.0}, Reason.CHARGE),
    ("drell_yan", PAIR, {"lep1_Charge": False, "lep2_Charge": True}, Reason.CHARGE),
    ("drell_yan", PAIR, {"lep2_Charge": -1.0}, Reason.SIGNS),
    ("drell_yan", PAIR, {f"lep2_{q}": np.nan for q in ("PT", "Eta", "Phi", "Charge")}, Reason.NO_LEPTON),
    ("ttbar_2l", TOPS, {f"j2_{q}": np.nan for q in ("PT", "Eta", "Phi", "M")}, Reason.NO_JET),
    ("ttbar_2l", TOPS, {"MET": np.nan, "MET_Phi": np.nan}, Reason.NO_MISSING_PT),
    ("ttbar_2l", TOPS, {"MET": np.nan}, Reason.NOT_FINITE),
    ("drell_yan", PAIR, {"lep1_PDG": 11, "lep2_PDG": -11}, Reason.NONE),
    ("drell_yan", PAIR, {"lep1_PDG": 11, "lep2_PDG": -13}, Reason.FLAVOURS),
    ("drell_yan", PAIR, {"lep1_PDG": 11, "lep2_PDG": np.nan}, Reason.NONE),
    ("drell_yan", PAIR, {"lep1_PDG": 11, "lep2_PDG": 13}, Reason.CONTRADICTION),
    (
        "drell_yan",
        PAIR | {"lep1_PDG": 11, "lep2_PDG": np.nan},
        {f"lep2_{q}": np.nan for q in ("PT", "Eta", "Phi", "Charge")},
        Reason.NO_LEPTON,
    ),
    ("x=p p > e+ e-", PAIR, {"lep1_PDG": 11, "lep2_PDG": -11}, Reason.NONE),
    ("x=p p > e+ e-", PAIR, {"lep1_PDG": 13, "lep2_PDG": -13}, Reason.FLAVOURS),
    ("x=p p > e+ e-", PAIR, {}, Reason.NONE),
    ("drell_yan", PAIR, {"lep1_PT": 1e308, "lep1_Eta": 5.0}, Reason.OVERFLOW),
    ("zz_4l", FOUR, {}, Reason.NONE),
    ("zz_4l", FOUR, {"lep3_PDG": -13}, Reason.CONTRADICTION),
    ("zz_4l", FOUR, {"lep3_PDG": 11, "lep4_PDG": -11}, Reason.FLAVOURS),
    ("zz_4l", FOUR, {"lep3_PDG": 22}, Reason.FLAVOURS),
    ("ttbar_2l", TOPS, {}, Reason.NONE),
    ("ttbar_2l", TOPS, {"j1_M": -999.0}, Reason.JET_MASS),
    ("ttbar_2l", TOPS, {"j2_M": -1.0}, Reason.JET_MASS),
    ("ttbar_2l", TOPS, {"j1_M": -1e-2}, Reason.NONE),
    ("ttbar_2l", TOPS, {"j1_M": 7000.0}, Reason.JET_MASS),  # MeV
    ("ttbar_2l", TOPS, {"j2_Phi": 181.0}, Reason.PHI),
    ("ttbar_2l", TOPS, {"j2_Eta": -10.5}, Reason.ETA),
    ("ttbar_2l", TOPS, {"j2_PT": -1.0}, Reason.PT),
    ("ttbar_2l", TOPS, {"MET": -1.0}, Reason.MISSING_PT),
    ("ttbar_2l", TOPS, {"MET": 0.0}, Reason.NONE),
    ("ttbar_2l", TOPS, {"MET_Phi": -999.0}, Reason.PHI),
]  # fmt: skip


def of(event: dict, change: dict) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in {**event, **change}.items()}


@pytest.mark.parametrize(("process", "event", "change", "reason"), CASES)
def test_each_fault_has_its_reason(process: str, event: dict, change: dict, reason: Reason) -> None:
    alpha = hypothesis(process)
    _, found = examined(alpha, of(event, change))
    assert Reason(found[0]) is reason
    _, good = visible.visible(alpha, of(event, change))
    assert good[0] == (reason is Reason.NONE)


def test_rows_of_pandas_belong_together_by_their_index() -> None:
    """Columns in another order of rows would be paired with other events."""
    frame = pd.DataFrame({name: np.repeat(value, 3) for name, value in PAIR.items()})
    frame["lep1_PT"] = [40.0, 60.0, 50.0]
    mixed = {name: frame[name] for name in frame} | {"lep1_PT": frame["lep1_PT"].sort_values()}
    with pytest.raises(UsageError, match="different indices"):
        as_table(mixed, tuple(PAIR))
    in_order = {name: frame.sort_values("lep1_PT")[name] for name in frame}
    assert as_table(in_order, ("lep1_PT",))[:, 0].tolist() == [40.0, 50.0, 60.0]


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (pd.DataFrame(np.ones((2, 8))), "one text each as their name"),
        (pd.DataFrame({("lep1", "PT"): [1.0]}), "one text each as their name"),
        (PAIR | {"lep1_PT": [40.0 + 1j]}, "complex"),
        (pd.DataFrame({"lep1_PT": [40.0 + 1j]}), "complex"),
        (PAIR | {"lep1_PT": np.array(["2026-01-01"], dtype="datetime64[ns]")}, "times"),
    ],
)
def test_columns_that_are_no_numbers_are_refused(events: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        as_table(events, ("lep1_PT",))


def test_what_is_not_used_is_not_looked_at() -> None:
    alpha = hypothesis("ttbar_2l", met="balance")
    assert visible.visible(alpha, of(TOPS, {"MET": -999.0, "MET_Phi": -999.0}))[1].all()
    without = {name: value for name, value in TOPS.items() if not name.startswith("MET")}
    assert visible.visible(alpha, of(without, {}))[1].all()
    with pytest.raises(UsageError, match="MET"):
        visible.visible(hypothesis("ttbar_2l"), of(without, {}))


def test_reasons_come_with_weights_and_are_counted() -> None:
    pairs = [case for case in CASES if case[:2] == ("drell_yan", PAIR) and case[2].keys() <= PAIR.keys()]
    changes, reasons = [change for _, _, change, _ in pairs], [reason for *_, reason in pairs]
    together = {name: np.array([{**PAIR, **c}[name] for c in changes], dtype=float) for name in PAIR}
    with pytest.warns(DeepMEMWarning, match="lep2_Phi reaches 172"):
        found = engine.compute(hypothesis("drell_yan"), together)["drell_yan"]
    assert found.reason is not None
    assert found.reason.tolist() == reasons
    np.testing.assert_array_equal(found.status == Status.BAD_INPUT, found.reason != 0)
    np.testing.assert_array_equal(np.isnan(found.value), found.reason != 0)
    alone = engine.compute(hypothesis("drell_yan"), of(PAIR, {}))["drell_yan"]
    assert found.value[0] == alone.value[0] > 0
    counted = count_reasons(found.reason)
    assert counted[Reason.CHARGE.meaning] == 3
    assert sum(counted.values()) == len(reasons) - 2
    assert next(iter(counted.values())) == max(counted.values())
    assert count_reasons(None) == {}
    assert all(reason.meaning for reason in Reason)
    joined = Weight.concatenate([found[2:5], found[:1]])
    assert joined.reason is not None
    assert joined.reason.tolist() == [*reasons[2:5], reasons[0]]
    assert joined.evaluations is not None
    assert found.evaluations is not None
    np.testing.assert_array_equal(joined.evaluations, found.evaluations[[2, 3, 4, 0]])
    np.testing.assert_array_equal(found.evaluations == 0, np.array(reasons) != 0)
    without = Weight(alone.value, alone.error, alone.status)
    assert Weight.concatenate([found, without]).reason is None
    assert Weight.concatenate([found, without]).evaluations is None


def test_a_weight_that_is_finite_nowhere_says_so() -> None:
    same = {"lep2_Eta": PAIR["lep1_Eta"], "lep2_Phi": PAIR["lep1_Phi"]}
    found = engine.compute(hypothesis("drell_yan", r_lepton=0), of(PAIR, same))["drell_yan"]
    assert found.status.tolist() == [Status.BAD_INPUT]
    assert count_reasons(found.reason) == {Reason.NO_POINT.meaning: 1}


def test_a_jet_that_is_massless_by_rounding_keeps_its_bits() -> None:
    alpha = hypothesis("ttbar_2l")
    plus, minus = (visible.visible(alpha, of(TOPS, {"j1_M": mass}))[0].energy for mass in (1e-2, -1e-2))
    np.testing.assert_array_equal(plus, minus)


def test_degrees_refuse_the_call_and_a_chunk_of_a_file_does_not() -> None:
    rng = np.random.default_rng(1)
    events = {name: np.full(40, value) for name, value in PAIR.items()}
    events["lep2_Phi"] = rng.uniform(-180, 180, 40)
    alpha = hypothesis("drell_yan")
    with pytest.raises(UsageError, match=r"lep2_Phi reaches .*9[0-9.]+ % .*degrees\? radians are expected"):
        engine.compute(alpha, events)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = engine.compute(alpha, events, entries=np.arange(40))["drell_yan"]
    np.testing.assert_array_equal(found.status == Status.BAD_INPUT, np.abs(events["lep2_Phi"]) > 6.4)


# --- what is missing, in every container
# ---------------------------------------------------------------------------------------------------------

_MASK = [False, True]


@pytest.mark.parametrize(
    "events",
    [
        {"a": np.ma.array([1.0, 2.0], mask=_MASK), "b": [3.0, 4.0]},
        {"a": np.ma.array([1, 2], mask=_MASK), "b": np.ma.array([3, 4])},
        {"a": [1.0, None], "b": [3, 4]},
        {"a": pd.Series([1, None], dtype="Int64"), "b": [3, 4]},
        {"a[0]": np.ma.array([1.0, 2.0], mask=_MASK), "b": [3, 4], "a": [1.0, 2.0]},
        np.ma.array([[1, 3], [2, 4]], mask=[[False, False], [True, False]]),
        np.ma.array([(1, 3), (2, 4)], dtype=[("a", int), ("b", float)], mask=[(False, False), (True, False)]),
        [np.ma.array([1.0, 3.0]), np.ma.array([2.0, 4.0], mask=[True, False])],
        [[1.0, 3.0], [None, 4.0]],
    ],
)
def test_what_is_masked_is_missing(events: object) -> None:
    columns = ("a[0]", "b") if isinstance(events, dict) and "a[0]" in events else ("a", "b")
    np.testing.assert_array_equal(as_table(events, columns), [[1.0, 3.0], [np.nan, 4.0]])


def test_elements_of_a_masked_branch() -> None:
    jets = np.ma.array([[1.0, 3.0], [2.0, 4.0]], mask=[[False, False], [True, False]])
    np.testing.assert_array_equal(as_table({"Jet": jets}, ("Jet[0]", "Jet[1]")), [[1.0, 3.0], [np.nan, 4.0]])


def test_a_masked_event_has_no_weight() -> None:
    events = {
        name: np.ma.array([value, value], mask=[False, name == "lep1_PT"]) for name, value in PAIR.items()
    }
    found = engine.compute(hypothesis("drell_yan"), events)["drell_yan"]
    assert found.status.tolist() == [Status.GOOD, Status.BAD_INPUT]
    assert count_reasons(found.reason) == {Reason.NOT_FINITE.meaning: 1}
