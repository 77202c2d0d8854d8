"""A UFO folder (arXiv:1108.2040, 2304.09883) as a `Model`; its files are parsed, never imported or run.

Ghosts and Goldstone bosons are left out: the gauge is unitary. A vertex with a spin, a colour or a structure
that no amplitude can have stays, marked with the reason (`Vertex.refused`), for other reactions to go on.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from deepmem.errors import nearest
from deepmem.physics.errors import ModelError
from deepmem.physics.theory.expressions import names, tree
from deepmem.physics.theory.model import Coupling, Lorentz, Model, Order, Parameter, Particle, Vertex
from deepmem.physics.theory.particle_names import named
from deepmem.physics.theory.ufo_files import Object, objects_of

NEEDED = ("particles.py", "parameters.py", "couplings.py", "lorentz.py", "vertices.py")
"""The files of a UFO folder; `coupling_orders.py` may be absent in old ones."""

_STRUCTURES = {
    "P",
    "Metric",
    "Gamma",
    "Gamma5",
    "ProjM",
    "ProjP",
    "Identity",
    "Sigma",
    "Epsilon",
    "C",
    "complex",
}
_COLOURS = {"Identity", "T", "f", "d"}
_SPINS = {4: "spin 3/2", 5: "spin 2"}


def read_folder(path: str | os.PathLike[str]) -> Model:
    """The model of a UFO folder, without any restriction.

    **Raises** `ModelError` where the folder lacks a file, a file is no Python, or an object of it is not
    complete or names what is not there.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(f"{path} is no folder: a UFO model is a folder with {', '.join(NEEDED)}")
    absent = [name for name in NEEDED if not (folder / name).is_file()]
    if absent:
        raise ModelError(f"{path} is no UFO folder: it has no {', '.join(absent)}")
    files = {name: list(objects_of(folder / name)) for name in NEEDED}
    optional = folder / "coupling_orders.py"
    orders = list(objects_of(optional)) if optional.is_file() else []
    parameters = {each.variable: each for each in files["parameters.py"] if each.kind == "Parameter"}
    particles, left_out, reasons, variables = _particles(files["particles.py"], parameters)
    lorentz, strange = _lorentz(files["lorentz.py"])
    couplings = dict(_couplings(files["couplings.py"]))
    reader = _Vertices(variables, left_out, reasons, lorentz, strange, couplings)
    vertices = tuple(reader.vertices(files["vertices.py"]))
    used = {name for vertex in vertices for *_, name in vertex.couplings}
    kept = tuple(coupling for coupling in couplings.values() if coupling.name in used)
    return Model(
        name=folder.resolve().name,
        particles=named(particles),
        parameters=tuple(_sorted(parameters.values())),
        couplings=kept,
        lorentz=tuple(lorentz.values()),
        vertices=vertices,
        orders=tuple(_orders(orders, kept)),
    )


def _particles(
    objects: list[Object], parameters: Mapping[str, Object]
) -> tuple[list[Particle], set[str], dict[str, str], dict[str, int]]:
    """Particles; what is left out, by variable; reasons against some; PDG codes by variable."""
    found: list[Particle] = []
    left_out: set[str] = set()
    reasons: dict[str, str] = {}
    codes: dict[str, int] = {}
    for each in objects:
        if each.kind == "anti":
            of = each.text("of")
            if of in left_out:
                left_out.add(each.variable)
            elif of in codes:
                codes[each.variable] = -codes[of]
                if of in reasons:
                    reasons[each.variable] = reasons[of]
            continue
        if each.kind != "Particle":
            continue
        if each.whole("spin") < 0 or each.flagged("goldstone", "goldstoneboson"):
            left_out.add(each.variable)
            continue
        particle = _particle(each, parameters)
        if particle.code in codes.values() or -particle.code in codes.values():
            raise ModelError(
                f"{each.place}: {each.variable!r} has the PDG code {particle.code} of another particle"
            )
        found.append(particle)
        codes[each.variable] = particle.code
        why = _against(particle, each)
        if why:
            reasons[each.variable] = f"{particle.name!r} has {why}"
    return found, left_out, reasons, codes


def _particle(each: Object, parameters: Mapping[str, Object]) -> Particle:
    def parameter(key: str) -> str:
        value = each.values.get(key, "ZERO")
        if not isinstance(value, str) or (value != "ZERO" and value not in parameters):
            near = nearest(str(value), parameters)
            raise ModelError(
                f"{each.place}: the {key} of {each.variable!r} is {value!r}{near}, which is no parameter of "
                "the model"
            )
        return "ZERO" if value == "ZERO" else parameters[value].text("name")

    charge = 3 * each.number("charge", 0)
    if abs(charge - round(charge)) > 1e-6:
        raise ModelError(
            f"{each.place}: the charge of {each.variable!r} is {charge / 3:g}; only multiples of 1/3 are "
            "supported"
        )
    return Particle(
        code=each.whole("pdg_code"),
        name=each.text("name"),
        antiname=each.text("antiname"),
        spin=each.whole("spin"),
        colour=each.whole("color"),
        mass=parameter("mass"),
        width=parameter("width"),
        thrice_charge=round(charge),
    )


def _against(particle: Particle, each: Object) -> str:
    """What of a particle no amplitude can have; "": nothing."""
    if particle.spin not in (1, 2, 3):
        return _SPINS.get(particle.spin, f"2s + 1 = {particle.spin}")
    if particle.colour not in (1, 3, -3, 8):
        return f"colour representation {particle.colour}"
    if "propagator" in each.values:
        return "a propagator of its own"
    if each.values.get("propagating", True) in (False, 0):
        return "no propagator"
    return ""


def _sorted(parameters: Iterable[Object]) -> Iterator[Parameter]:
    """Parameters, each after those that it is made of."""
    made = {each.text("name"): _parameter(each) for each in parameters if each.text("name") != "ZERO"}
    done: set[str] = {"ZERO"}
    for start in made:
        stack: list[tuple[str, bool]] = [(start, False)]
        open_: set[str] = set()
        while stack:
            name, complete = stack.pop()
            if complete:
                if name not in done:
                    done.add(name)
                    yield made[name]
                continue
            if name in done:
                continue
            if name in open_:
                raise ModelError(f"parameter {name!r} follows from itself")
            open_.add(name)
            stack.append((name, True))
            where = f"parameter {name!r}"
            expression = made[name].expression
            inner = names(tree(expression, where)) if expression is not None else set()
            for each in sorted(inner):
                if each not in made and each != "ZERO":
                    raise ModelError(
                        f"{where} needs {each!r}{nearest(each, made)}, which is no parameter of the model"
                    )
            stack += [(each, False) for each in sorted(inner) if each not in done]


def _parameter(each: Object) -> Parameter:
    name = each.text("name")
    if each.text("nature") == "internal":
        real = each.values.get("type", "real") != "complex"
        return Parameter(name, expression=each.expression("value"), real=real)
    block = each.text("lhablock") if "lhablock" in each.values else ""
    indices = each.integers("lhacode") if "lhacode" in each.values else ()
    return Parameter(name, value=float(each.number("value")), block=block, indices=indices)


def _couplings(objects: list[Object]) -> Iterator[tuple[str, Coupling]]:
    """Couplings by variable; those of loops, whose value is no text, are left out."""
    for each in objects:
        if each.kind == "Coupling" and not isinstance(each.values.get("value"), dict):
            orders = tuple((str(name), int(power)) for name, power in each.table("order").items())
            yield each.variable, Coupling(each.text("name"), each.expression("value"), orders)


def _lorentz(objects: list[Object]) -> tuple[dict[str, Lorentz], dict[str, str]]:
    """Structures by variable, and why some can't be used."""
    found, strange = {}, {}
    for each in objects:
        if each.kind != "Lorentz":
            continue
        structure = Lorentz(each.text("name"), each.integers("spins"), each.text("structure"))
        found[each.variable] = structure
        node = tree(structure.structure, f"{each.place}: the structure of {structure.name!r}")
        called = {
            call.func.id
            for call in ast.walk(node)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        }
        form_factors = names(node)
        if called - _STRUCTURES or form_factors:
            strange[each.variable] = (
                f"structure {structure.name!r} has {', '.join(sorted(called - _STRUCTURES | form_factors))}"
            )
    return found, strange


class _Vertices(NamedTuple):
    """What vertices refer to, by variable."""

    codes: Mapping[str, int]
    left_out: set[str]
    reasons: Mapping[str, str]
    lorentz: Mapping[str, Lorentz]
    strange: Mapping[str, str]
    couplings: Mapping[str, Coupling]

    def vertices(self, objects: list[Object]) -> Iterator[Vertex]:
        for each in objects:
            if each.kind != "Vertex" or any(name in self.left_out for name in each.names("particles")):
                continue
            for kind, known in (("particles", self.codes), ("lorentz", self.lorentz)):
                for name in each.names(kind):
                    if name not in known:
                        raise ModelError(
                            f"{each.place}: vertex {each.text('name')!r} has {name!r}{nearest(name, known)}, "
                            f"which is none of the model's {kind}"
                        )
            yield self.vertex(each)

    def vertex(self, each: Object) -> Vertex:
        entries = []
        for (colour, lorentz), strengths in each.table("couplings").items():
            for name in strengths if isinstance(strengths, list) else [strengths]:
                if name not in self.couplings:
                    raise ModelError(
                        f"{each.place}: vertex {each.text('name')!r} has the coupling {name!r}"
                        f"{nearest(name, self.couplings)}, which is none of the model"
                    )
                entries.append((int(colour), int(lorentz), self.couplings[name].name))
        why = [self.reasons[name] for name in each.names("particles") if name in self.reasons]
        why += [self.strange[name] for name in each.names("lorentz") if name in self.strange]
        for colour in each.names("color"):
            called = {word.id for word in ast.walk(tree(colour)) if isinstance(word, ast.Name)} - _COLOURS
            why += [f"the colour structure {name!r} is not supported" for name in sorted(called)]
        return Vertex(
            name=each.text("name"),
            particles=tuple(self.codes[name] for name in each.names("particles")),
            colour=tuple(each.names("color")),
            lorentz=tuple(self.lorentz[name].name for name in each.names("lorentz")),
            couplings=tuple(sorted(entries)),
            refused=f"vertex {each.text('name')}: {why[0]}" if why else "",
        )


def _orders(objects: list[Object], couplings: tuple[Coupling, ...]) -> Iterator[Order]:
    """The coupling orders; where no file lists them, QCD counts 1 and the others 2."""
    declared = [each for each in objects if each.kind == "CouplingOrder"]
    for each in declared:
        most = each.whole("expansion_order", 99)
        yield Order(each.text("name"), each.whole("hierarchy"), 99 if most < 0 else most)
    known = {each.text("name") for each in declared}
    for name in dict.fromkeys(name for coupling in couplings for name, _ in coupling.orders):
        if name not in known:
            yield Order(name, 1 if name == "QCD" else 2)
