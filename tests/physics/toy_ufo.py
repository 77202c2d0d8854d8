"""A small UFO folder: electrons, a quark, a Z′ with both chiralities, a scalar, a Majorana fermion.

It also has what folders have beside physics: ghosts, a Goldstone boson, a spin-2 particle, a sextet, a form
factor, a helper file in Python 2, and restriction cards.
"""

from __future__ import annotations

from pathlib import Path

_HEAD = "from __future__ import division\nfrom object_library import *\n\n"

PARTICLES = (
    _HEAD
    + """import parameters as Param
import propagators as Prop

a = Particle(pdg_code = 22, name = 'a', antiname = 'a', spin = 3, color = 1,
             mass = Param.ZERO, width = Param.ZERO, texname = 'a', charge = 0)
g = Particle(pdg_code = 21, name = 'g', antiname = 'g', spin = 3, color = 8,
             mass = Param.ZERO, width = Param.ZERO, charge = 0)
e__minus__ = Particle(pdg_code = 11, name = 'e-', antiname = 'e+', spin = 2, color = 1,
                      mass = Param.Me, width = Param.ZERO, charge = -1, LeptonNumber = 1)
e__plus__ = e__minus__.anti()
mu__minus__ = Particle(pdg_code = 13, name = 'm-', antiname = 'm+', spin = 2, color = 1,
                       mass = Param.Mmu, width = Param.ZERO, charge = -1)
mu__plus__ = mu__minus__.anti()
u = Particle(pdg_code = 2, name = 'u', antiname = 'u~', spin = 2, color = 3,
             mass = Param.ZERO, width = Param.ZERO, charge = 2/3)
u__tilde__ = u.anti()
Zp = Particle(pdg_code = 32, name = 'Zp', antiname = 'Zp', spin = 3, color = 1,
              mass = Param.MZp, width = Param.WZp, charge = 0)
S0 = Particle(pdg_code = 99001, name = 'S0', antiname = 'S0', spin = 1, color = 1,
              mass = Param.MS, width = Param.WS, charge = 0)
chi = Particle(pdg_code = 99002, name = 'chi', antiname = 'chi', spin = 2, color = 1,
               mass = Param.Mchi, width = Param.ZERO, charge = 0)
grav = Particle(pdg_code = 39, name = 'y', antiname = 'y', spin = 5, color = 1,
                mass = Param.MZp, width = Param.WZp, charge = 0)
six = Particle(pdg_code = 99003, name = 'six', antiname = 'six~', spin = 1, color = 6,
               mass = Param.MS, width = Param.WS, charge = 4/3)
six__tilde__ = six.anti()
ghA = Particle(pdg_code = 9000001, name = 'ghA', antiname = 'ghA~', spin = -1, color = 1,
               mass = Param.ZERO, width = Param.ZERO, charge = 0)
ghA__tilde__ = ghA.anti()
G0 = Particle(pdg_code = 9000002, name = 'G0', antiname = 'G0', spin = 1, color = 1,
              mass = Param.MZp, width = Param.ZERO, GoldstoneBoson = True, charge = 0)
"""
)

PARAMETERS = (
    _HEAD
    + """ZERO = Parameter(name = 'ZERO', nature = 'internal', type = 'real', value = '0.0', texname = '0')
aEWM1 = Parameter(name = 'aEWM1', nature = 'external', type = 'real', value = 127.9,
                  lhablock = 'SMINPUTS', lhacode = [ 1 ])
aS = Parameter(name = 'aS', nature = 'external', type = 'real', value = 0.1184,
               lhablock = 'SMINPUTS', lhacode = [ 3 ])
gL = Parameter(name = 'gL', nature = 'external', type = 'real', value = 0.2, lhablock = 'ZP', lhacode = [ 1 ])
gR = Parameter(name = 'gR', nature = 'external', type = 'real', value = 1/4, lhablock = 'ZP', lhacode = [ 2 ])
mix = Parameter(name = 'mix', nature = 'external', type = 'real', value = 0.3, lhablock = 'ZP', lhacode = [ 3 ])
lam = Parameter(name = 'lam', nature = 'external', type = 'real', value = -2e-4,
                lhablock = 'ZP', lhacode = [ 4 ])
Me = Parameter(name = 'Me', nature = 'external', type = 'real', value = 0.1, lhablock = 'MASS', lhacode = [ 11 ])
Mmu = Parameter(name = 'Mmu', nature = 'external', type = 'real', value = 0.1, lhablock = 'MASS', lhacode = [ 13 ])
MZp = Parameter(name = 'MZp', nature = 'external', type = 'real', value = 800.,
                lhablock = 'MASS', lhacode = [ 32 ])
MS = Parameter(name = 'MS', nature = 'external', type = 'real', value = 300.,
               lhablock = 'MASS', lhacode = [ 99001 ])
WZp = Parameter(name = 'WZp', nature = 'external', type = 'real', value = 12.,
                lhablock = 'DECAY', lhacode = [ 32 ])
WS = Parameter(name = 'WS', nature = 'external', type = 'real', value = 1.5,
               lhablock = 'DECAY', lhacode = [ 99001 ])
# Parameters may stand before what they are made of.
Mchi = Parameter(name = 'Mchi', nature = 'internal', type = 'real', value = 'half*MZp')
half = Parameter(name = 'half', nature = 'internal', type = 'real', value = '1/4.')
ee = Parameter(name = 'ee', nature = 'internal', type = 'real', value = '2*cmath.sqrt(cmath.pi/aEWM1)')
G = Parameter(name = 'G', nature = 'internal', type = 'real', value = '2*cmath.sqrt(aS)*cmath.sqrt(cmath.pi)')
phase = Parameter(name = 'ph', nature = 'internal', type = 'complex',
                  value = 'cmath.cos(mix) + complex(0,1)*cmath.sin(mix) if mix else 1')
"""
)

COUPLINGS = (
    _HEAD
    + """GC_1 = Coupling(name = 'GC_1', value = '-(ee*complex(0,1))', order = {'QED':1})
GC_2 = Coupling(name = 'GC_2', value = '(2*ee*complex(0,1))/3.', order = {'QED':1})
GC_3 = Coupling(name = 'GC_3', value = 'complex(0,1)*G', order = {'QCD':1})
GC_4 = Coupling(name = 'GC_4', value = 'complex(0,1)*gL', order = {'NP':1})
GC_5 = Coupling(name = 'GC_5', value = 'complex(0,1)*gR', order = {'NP':1})
GC_6 = Coupling(name = 'GC_6', value = 'complex(0,1)*mix*ph/10.', order = {'NP':1})
GC_7 = Coupling(name = 'GC_7', value = 'complex(0,1)*mix*complexconjugate(ph)/10.', order = {'NP':1})
GC_8 = Coupling(name = 'GC_8', value = 'complex(0,1)*lam', order = {'NP':1, 'QED':1})
GC_9 = Coupling(name = 'GC_9', value = 'complex(0,1)*(gL - gR)', order = {'NP':1})
"""
)

LORENTZ = (
    _HEAD
    + """try:
    import form_factors as ForFac
except ImportError:
    pass

FFV1 = Lorentz(name = 'FFV1', spins = [ 2, 2, 3 ], structure = 'Gamma(3,2,1)')
FFV2 = Lorentz(name = 'FFV2', spins = [ 2, 2, 3 ], structure = 'Gamma(3,2,-1)*ProjM(-1,1)')
FFV3 = Lorentz(name = 'FFV3', spins = [ 2, 2, 3 ], structure = 'Gamma(3,2,-1)*ProjP(-1,1)')
FFV4 = Lorentz(name = 'FFV4', spins = [ 2, 2, 3 ], structure = 'Gamma(3,2,-1)*Gamma5(-1,1)')
FFS1 = Lorentz(name = 'FFS1', spins = [ 2, 2, 1 ], structure = 'ProjM(2,1)')
FFS2 = Lorentz(name = 'FFS2', spins = [ 2, 2, 1 ], structure = 'ProjP(2,1)')
VVS1 = Lorentz(name = 'VVS1', spins = [ 3, 3, 1 ],
               structure = 'P(1,2)*P(2,1) - P(-1,1)*P(-1,2)*Metric(1,2)' + ' + Epsilon(1,2,-1,-2)*P(-1,1)*P(-2,2)')
FFT1 = Lorentz(name = 'FFT1', spins = [ 2, 2, 5 ], structure = 'P(2003,1)*Gamma(1003,2,1)')
SSS1 = Lorentz(name = 'SSS1', spins = [ 1, 1, 1 ], structure = '1')
FFS3 = Lorentz(name = 'FFS3', spins = [ 2, 2, 1 ], structure = 'FF1*Identity(2,1)')
UUV1 = Lorentz(name = 'UUV1', spins = [ -1, -1, 3 ], structure = 'P(3,2) + P(3,3)')
"""
)

VERTICES = (
    _HEAD
    + """import particles as P
import couplings as C
import lorentz as L

V_1 = Vertex(name = 'V_1', particles = [ P.e__plus__, P.e__minus__, P.a ], color = [ '1' ],
             lorentz = [ L.FFV1 ], couplings = {(0,0):C.GC_1})
V_2 = Vertex(name = 'V_2', particles = [ P.u__tilde__, P.u, P.a ], color = [ 'Identity(1,2)' ],
             lorentz = [ L.FFV1 ], couplings = {(0,0):C.GC_2})
V_3 = Vertex(name = 'V_3', particles = [ P.u__tilde__, P.u, P.g ], color = [ 'T(3,2,1)' ],
             lorentz = [ L.FFV1 ], couplings = {(0,0):C.GC_3})
V_4 = Vertex(name = 'V_4', particles = [ P.e__plus__, P.e__minus__, P.Zp ], color = [ '1' ],
             lorentz = [ L.FFV2, L.FFV3 ], couplings = {(0,0):C.GC_4, (0,1):C.GC_5})
V_5 = Vertex(name = 'V_5', particles = [ P.u__tilde__, P.u, P.Zp ], color = [ 'Identity(1,2)' ],
             lorentz = [ L.FFV2, L.FFV3 ], couplings = {(0,0):C.GC_4, (0,1):C.GC_5})
V_6 = Vertex(name = 'V_6', particles = [ P.mu__plus__, P.mu__minus__, P.S0 ], color = [ '1' ],
             lorentz = [ L.FFS1, L.FFS2 ], couplings = {(0,0):C.GC_7, (0,1):C.GC_6})
V_7 = Vertex(name = 'V_7', particles = [ P.a, P.a, P.S0 ], color = [ '1' ],
             lorentz = [ L.VVS1 ], couplings = {(0,0):C.GC_8})
V_8 = Vertex(name = 'V_8', particles = [ P.chi, P.chi, P.Zp ], color = [ '1' ],
             lorentz = [ L.FFV4 ], couplings = {(0,0):C.GC_9})
V_9 = Vertex(name = 'V_9', particles = [ P.mu__plus__, P.mu__minus__, P.a ], color = [ '1' ],
             lorentz = [ L.FFV1 ], couplings = {(0,0):C.GC_1})
V_10 = Vertex(name = 'V_10', particles = [ P.e__plus__, P.e__minus__, P.grav ], color = [ '1' ],
              lorentz = [ L.FFT1 ], couplings = {(0,0):C.GC_4})
V_11 = Vertex(name = 'V_11', particles = [ P.six__tilde__, P.six, P.S0 ], color = [ 'Identity(1,2)' ],
              lorentz = [ L.SSS1 ], couplings = {(0,0):C.GC_4})
V_12 = Vertex(name = 'V_12', particles = [ P.e__plus__, P.e__minus__, P.S0 ], color = [ '1' ],
              lorentz = [ L.FFS3 ], couplings = {(0,0):C.GC_4})
V_13 = Vertex(name = 'V_13', particles = [ P.ghA, P.ghA__tilde__, P.a ], color = [ '1' ],
              lorentz = [ L.UUV1 ], couplings = {(0,0):C.GC_1})
V_14 = Vertex(name = 'V_14', particles = [ P.e__plus__, P.e__minus__, P.G0 ], color = [ '1' ],
              lorentz = [ L.FFS1 ], couplings = {(0,0):C.GC_1})
"""
)

ORDERS = (
    _HEAD
    + """QCD = CouplingOrder(name = 'QCD', expansion_order = 99, hierarchy = 1)
QED = CouplingOrder(name = 'QED', expansion_order = -1, hierarchy = 2)
NP = CouplingOrder(name = 'NP', expansion_order = 2, hierarchy = 1)
"""
)

# Electrons and muons have one mass, S0 no pseudoscalar part; gR is 1, gL a value that is 1.
CARD = """BLOCK SMINPUTS
      1 1.279000e+02 # aEWM1
      3 1.180000e-01 # aS
BLOCK ZP
      1 9.999999e-01 # gL
      2 1.000000e+00 # gR
      3 0.000000e+00 # mix
      4 0.000001e-99 # lam
Block mass
     11 5.110000D-04 # Me
     13 5.110000D-04 # Mmu
     32 9.000000e+02 # MZp
DECAY 32 2.000000e+01
   0.5 2 11 -11
"""

FILES = {
    "particles.py": PARTICLES,
    "parameters.py": PARAMETERS,
    "couplings.py": COUPLINGS,
    "lorentz.py": LORENTZ,
    "vertices.py": VERTICES,
    "coupling_orders.py": ORDERS,
    "write_param_card.py": "print 'this is Python 2, and nobody reads it'\n",
    "__init__.py": "raise RuntimeError('a model must not be imported')\n",
}


def write(folder: Path, **changed: str) -> Path:
    """The folder, with some files (named without ".py") of other contents."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (folder / name).write_text(changed.get(name.removesuffix(".py"), text))
    return folder
