"""Continual-learning methods. A new one is a file, a line here and one in METHOD_CONFIGS."""

from hcl.methods.base import Method, Prediction, Setup
from hcl.methods.ewc import EWC, OnlineEWC
from hcl.methods.finetune import Finetune
from hcl.methods.from_scratch import FromScratch
from hcl.methods.hnet import Hnet
from hcl.methods.joint import Joint
from hcl.methods.si import SI

METHODS: dict[str, type[Method]] = {
    "hnet": Hnet,
    "si": SI,
    "ewc": EWC,
    "online_ewc": OnlineEWC,
    "finetune": Finetune,
    "from_scratch": FromScratch,
    "joint": Joint,
}

__all__ = ["METHODS", "Method", "Prediction", "Setup"]
