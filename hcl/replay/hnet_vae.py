"""A VAE whose decoder comes from a hypernetwork that the output regularizer protects."""

from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

from hcl.config import TrialConfig
from hcl.config.methods import HnetVaeConfig
from hcl.hypernets import TaskHypernet
from hcl.networks.layers import xavier_
from hcl.networks.optim import make_adam, set_rate
from hcl.networks.target import TargetNetwork
from hcl.replay import vae
from hcl.replay.replay_model import ReplayModel
from hcl.scenario import OutputLayout


class HnetVae(ReplayModel):
    """The replay model of HNET+R and HNET+TIR (von Oswald et al., 2020, section 3 and appendix).

    Each task's decoder is generated from the task's embedding, and gets a one-hot task beside the
    latent code. The encoder is an ordinary network, not protected. Encoder and hypernetwork have
    new Adams for every task, as in the authors' code. The last task is never replayed, so it has
    no embedding.

    Args:
        trial: its method's settings are a HnetVaeConfig.
        layout: the scenario, of which only the number of tasks is read.
        input_shape: shape of one sample.
    """

    def __init__(
        self, trial: TrialConfig, layout: OutputLayout, input_shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        config, train = trial.method, trial.train
        assert isinstance(config, HnetVaeConfig)
        self.input_shape, self.config, self.train_config = input_shape, config, train
        self.encoder = vae.Encoder(input_shape, config.encoder_sizes, config.latent_size)
        xavier_(self.encoder)
        self.decoder = TargetNetwork(
            vae.decoder(
                config.latent_size, config.condition_size, config.decoder_sizes, input_shape
            ),
            kernels=train.kernels,
        )
        num_replayed = max(1, layout.num_tasks - 1)
        self.task_hypernet = TaskHypernet(
            self.decoder.num_weights, num_replayed, config.decoder_hypernet(), train, trial.seed
        )
        self.past_decoders: Tensor | None = None  # (t, num_weights), as the task started

    def start_task(self, task_id: int) -> None:
        self.past_decoders = None
        if task_id > 0:
            with torch.no_grad():
                self.past_decoders = self.task_hypernet(range(task_id))
        if task_id < len(self.task_hypernet.embeddings):
            self.task_hypernet.start_task(task_id)
            self._make_optimizer()

    def _make_optimizer(self) -> None:
        self.encoder_optimizer = make_adam(self.encoder.parameters(), self.train_config)

    def train_step(self, x: Tensor) -> dict[str, Tensor]:
        task_id = self.task_hypernet.task_id
        mean, log_variance = self.encoder(x)
        code = vae.sample_code(mean, log_variance)
        code = vae.with_condition(code, task_id, self.config.condition_size)
        logits = self.decoder(self.task_hypernet.current(), code)
        loss = vae.vae_loss(x, logits, mean, log_variance)
        weights: list[Tensor] = list(self.encoder.parameters())
        penalty, grads = self.task_hypernet.update(loss, weights)
        for weight, grad in zip(weights, grads, strict=True):
            weight.grad = grad
        self.encoder_optimizer.step()
        losses = {"replay_model": loss.detach()}
        return losses if penalty is None else losses | {"replay_regularizer": penalty}

    @torch.no_grad()
    def replay(self, num_samples: int) -> tuple[Tensor, Tensor | None]:
        assert self.past_decoders is not None, "there is no past task yet"
        num_past = len(self.past_decoders)
        each = ceil(num_samples / num_past)
        x = self._generate(self.past_decoders, each)
        owners = torch.arange(num_past, device=x.device).repeat_interleave(each)
        return x.flatten(0, 1), owners

    @torch.no_grad()
    def grid(self, num_samples: int) -> Tensor:
        return self._generate(
            self.task_hypernet(range(self.task_hypernet.task_id + 1)), num_samples
        )

    def _generate(self, decoders: Tensor, each: int) -> Tensor:
        """Sample every decoder, all in one call: (t, num_weights) -> (t, each, *input_shape)."""
        code = torch.randn(len(decoders), each, self.config.latent_size, device=decoders.device)
        ids = torch.arange(len(decoders), device=code.device)[:, None]
        code = vae.with_condition(code, ids, self.config.condition_size)
        pixels = self.decoder.run_each(decoders, code).sigmoid()
        assert pixels.shape[-1] == prod(self.input_shape)
        return pixels.unflatten(-1, self.input_shape)

    def set_learning_rate(self, rate: float) -> None:
        self.task_hypernet.set_learning_rate(rate)
        set_rate(self.encoder_optimizer, rate)

    def num_stored(self) -> int:
        return self.task_hypernet.num_stored()

    def kept_bytes(self, num_past: int) -> int:
        like = next(self.encoder.parameters())
        return num_past * self.decoder.num_weights * like.element_size()

    def training_state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"task_hypernet": self.task_hypernet.training_state()}
        if self.task_hypernet.task_id >= 0:
            state["encoder_optimizer"] = self.encoder_optimizer.state_dict()
        if self.past_decoders is not None:
            state["past_decoders"] = self.past_decoders
        return state

    def learned_state(self) -> dict[str, Any]:
        return {"task_hypernet": self.task_hypernet.learned_state()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        device = next(self.parameters()).device
        self.task_hypernet.load_training_state(state["task_hypernet"])
        if self.task_hypernet.task_id >= 0:
            self._make_optimizer()
        if "encoder_optimizer" in state:
            self.encoder_optimizer.load_state_dict(state["encoder_optimizer"])
        past = state.get("past_decoders")
        self.past_decoders = None if past is None else past.to(device)
