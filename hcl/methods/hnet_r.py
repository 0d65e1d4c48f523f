"""HNET+R: replay from a decoder that a hypernetwork generates."""

from torch import Tensor

from hcl.methods.base import Setup
from hcl.methods.replay import Replay
from hcl.networks.layers import xavier_
from hcl.replay import HnetVae
from hcl.replay.distillation import Unseen


class HnetR(Replay):
    """HNET+R (von Oswald et al., 2020): ordinary classifier, protected replay model.

    As in the authors' code (PAPER.md, section 3): classifier started Xavier-uniform, soft targets
    at T = 2, half of the loss on replay whatever the number of tasks, new Adams per task.
    """

    soft_targets = True
    unseen: Unseen = "zero_logit"
    new_adam_per_task = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        xavier_(self.network)

    def make_replay_model(self) -> HnetVae:
        return HnetVae.for_trial(self.setup.config, self.layout, self.setup.input_shape)

    def current_share(self) -> float:
        return self.config.current_share

    def replay_inputs(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self._model.replay(len(x))

    @property
    def _model(self) -> HnetVae:
        assert isinstance(self.replay_model, HnetVae)
        return self.replay_model

    def num_stored(self) -> int:
        """Of the replay model: the classifier is the same size as the target's."""
        return self._model.task_hypernet.num_stored()

    def num_target_weights(self) -> int:
        return self._model.decoder.num_weights
