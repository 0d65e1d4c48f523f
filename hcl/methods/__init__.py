"""Continual-learning methods, by the name that `method/name` gives.

A new one is a file here, a line in METHODS, and its settings with a line in METHOD_CONFIGS of
hcl/config/methods.py; hcl/methods/base.py says what it must do. A user's own is named by its
import path and is nowhere here.
"""

from hcl.config import plugins
from hcl.methods.agem import AGem
from hcl.methods.base import Method, Prediction, Setup
from hcl.methods.der import DER, DerPlus
from hcl.methods.dgr import DGR, DGRDistill
from hcl.methods.er import ER, ErAce
from hcl.methods.ewc import EWC, OnlineEWC
from hcl.methods.finetune import Finetune
from hcl.methods.from_scratch import FromScratch
from hcl.methods.hnet import Hnet
from hcl.methods.hnet_from_scratch import HnetFromScratch
from hcl.methods.hnet_r import HnetR
from hcl.methods.hnet_tir import HnetTir
from hcl.methods.icarl import ICaRL
from hcl.methods.joint import Joint
from hcl.methods.lwf import LwF
from hcl.methods.mas import MAS
from hcl.methods.pr_bbb import PrBbb
from hcl.methods.si import SI
from hcl.methods.xdg import XdG

METHODS: dict[str, type[Method]] = {
    "hnet": Hnet,
    "hnet_tir": HnetTir,
    "hnet_r": HnetR,
    "pr_bbb": PrBbb,
    "online_ewc": OnlineEWC,
    "ewc": EWC,
    "si": SI,
    "mas": MAS,
    "xdg": XdG,
    "dgr": DGR,
    "dgr_distill": DGRDistill,
    "lwf": LwF,
    "er": ER,
    "er_ace": ErAce,
    "der": DER,
    "der_plus": DerPlus,
    "agem": AGem,
    "icarl": ICaRL,
    "finetune": Finetune,
    "from_scratch": FromScratch,
    "hnet_from_scratch": HnetFromScratch,
    "joint": Joint,
}

__all__ = ["METHODS", "Method", "Prediction", "Setup", "make_method"]


def make_method(setup: Setup) -> Method:
    """Make the method that a trial names."""
    name = setup.config.method_name
    kind = METHODS.get(name) or plugins.load(name)
    made: Method = kind(setup)
    return made
