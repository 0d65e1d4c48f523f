"""Deep generative replay, with hard or soft targets."""

from hcl.methods.replay import Replay
from hcl.replay import PlainVae


class DGR(Replay):
    """Deep generative replay (Shin et al., 2017): replayed inputs, hard targets.

    As van de Ven & Tolias (2018) run it: a separate unconditional VAE replays as many samples as
    the current batch has. It does not say which task a sample is from, so in the task scenario
    every replayed sample rehearses every past head.
    """

    soft_targets = False

    def make_replay_model(self) -> PlainVae:
        return PlainVae(self.setup.input_shape, self.config, self.setup.config.train)


class DGRDistill(DGR):
    """DGR+distill (van de Ven & Tolias, 2018): soft targets at T = 2."""

    soft_targets = True
