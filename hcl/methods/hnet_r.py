"""HNET+R: replay from a decoder that a hypernetwork generates."""

from hcl.methods.base import Setup
from hcl.methods.replay import Replay
from hcl.networks.layers import xavier_
from hcl.replay import HnetVae
from hcl.replay.distillation import Unseen


class HnetR(Replay):
    """HNET+R (von Oswald et al., 2020): an ordinary classifier and a protected replay model.

    Variants, all from the authors' code: the classifier starts Xavier-uniform; targets are soft,
    at T = 2; half of the loss is on replay whatever the number of tasks; every task has new Adams.
    """

    soft_targets = True
    unseen: Unseen = "zero_logit"
    new_adam_per_task = True
    not_learned = ("previous", "optimizer")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        xavier_(self.network)

    def make_replay_model(self) -> HnetVae:
        return HnetVae(self.setup.config, self.layout, self.setup.input_shape)

    def current_share(self) -> float:
        return self.config.current_share
