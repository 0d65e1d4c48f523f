"""Deep generative replay, with hard or soft targets."""

from torch import Tensor

from hcl.methods.replay import Replay
from hcl.replay import PlainVae


class DGR(Replay):
    """Deep generative replay (Shin et al., 2017): replayed inputs, hard targets.

    As van de Ven & Tolias (2018) run it: a separate unconditional VAE, as many replayed as current
    samples; in the task scenario every replayed sample rehearses every past head.
    """

    soft_targets = False

    def make_replay_model(self) -> PlainVae:
        return PlainVae(self.setup.input_shape, self.config, self.setup.config.train)

    def replay_inputs(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        assert self.replay_model is not None
        return self.replay_model.replay(len(x))


class DGRDistill(DGR):
    """DGR+distill (van de Ven & Tolias, 2018): soft targets at T = 2."""

    soft_targets = True
