"""An ordinary VAE that keeps its past by replaying its earlier self."""

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from hcl.config import TrainConfig
from hcl.config.methods import DgrConfig
from hcl.networks.optim import make_adam, set_rate, take_step
from hcl.networks.state import num_bytes, to_device
from hcl.replay import vae
from hcl.replay.replay_model import ReplayModel


class PlainVae(ReplayModel):
    """The generator of deep generative replay (Shin et al., 2017).

    As van de Ven & Tolias (2018) train it: one unconditional VAE and one Adam for all tasks. From
    the second task on its loss is 1/t
    (current inputs) + (1 - 1/t) (as many replayed inputs), t counting the current task.

    Args:
        input_shape: shape of one sample.
        config: sizes.
        train: learning rate and betas.
    """

    def __init__(
        self, input_shape: tuple[int, ...], config: DgrConfig, train: TrainConfig
    ) -> None:
        super().__init__()
        self.input_shape, self.config, self.task_id = input_shape, config, -1
        self.encoder = vae.Encoder(input_shape, config.encoder_sizes, config.latent_size)
        self.decoder = vae.decoder(config.latent_size, 0, config.decoder_sizes, input_shape)
        self.optimizer = make_adam(self.parameters(), train)
        self.previous: dict[str, Tensor] = {}  # the decoder as it was when the task started

    def start_task(self, task_id: int) -> None:
        self.task_id = task_id
        if task_id > 0:
            self.previous = {k: p.detach().clone() for k, p in self.decoder.named_parameters()}

    def train_step(self, x: Tensor) -> dict[str, Tensor]:
        loss = self._loss(x)
        if self.task_id > 0:
            share = 1 / (self.task_id + 1)
            replayed, _ = self.replay(len(x))
            loss = share * loss + (1 - share) * self._loss(replayed)
        return {"replay_model": take_step(self.optimizer, loss)}

    def _loss(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x)
        logits = self.decoder(vae.sample_code(mean, log_variance))
        return vae.vae_loss(x, logits, mean, log_variance)

    @torch.no_grad()
    def replay(self, num_samples: int) -> tuple[Tensor, Tensor | None]:
        return self._generate(self.previous, num_samples), None

    @torch.no_grad()
    def grid(self, num_samples: int) -> Tensor:
        return self._generate(dict(self.decoder.named_parameters()), num_samples)[None]

    def _generate(self, weights: dict[str, Tensor], num_samples: int) -> Tensor:
        device = next(self.parameters()).device
        code = torch.randn(num_samples, self.config.latent_size, device=device)
        pixels = functional_call(self.decoder, weights, (code,), strict=True).sigmoid()
        return pixels.unflatten(-1, self.input_shape)

    def set_learning_rate(self, rate: float) -> None:
        set_rate(self.optimizer, rate)

    def num_stored(self) -> int:
        return sum(p.numel() for p in self.decoder.parameters())

    def kept_bytes(self, num_past: int) -> int:
        return num_bytes(self.decoder.parameters()) if num_past else 0

    def training_state(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "optimizer": self.optimizer.state_dict(),
            "previous": self.previous,
        }

    def learned_state(self) -> dict[str, Any]:
        return {key: value for key, value in self.training_state().items() if key != "previous"}

    def load_training_state(self, state: dict[str, Any]) -> None:
        self.task_id = state["task_id"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.previous = to_device(state.get("previous", {}), next(self.parameters()).device)
