"""Continual-learning methods. A new one is a file, a line here and one in METHOD_CONFIGS."""

from hcl.methods.base import Method, Prediction, Setup
from hcl.methods.dgr import DGR, DGRDistill
from hcl.methods.er import ER
from hcl.methods.ewc import EWC, OnlineEWC
from hcl.methods.finetune import Finetune
from hcl.methods.from_scratch import FromScratch
from hcl.methods.hnet import Hnet
from hcl.methods.hnet_r import HnetR
from hcl.methods.hnet_tir import HnetTir
from hcl.methods.joint import Joint
from hcl.methods.lwf import LwF
from hcl.methods.si import SI

METHODS: dict[str, type[Method]] = {
    "hnet": Hnet,
    "hnet_r": HnetR,
    "hnet_tir": HnetTir,
    "si": SI,
    "ewc": EWC,
    "online_ewc": OnlineEWC,
    "dgr": DGR,
    "dgr_distill": DGRDistill,
    "lwf": LwF,
    "er": ER,
    "finetune": Finetune,
    "from_scratch": FromScratch,
    "joint": Joint,
}

__all__ = ["METHODS", "Method", "Prediction", "Setup"]
