"""Generative models that replay past tasks' inputs."""

from hcl.replay.hnet_vae import HnetVae
from hcl.replay.plain_vae import PlainVae
from hcl.replay.replay_model import ReplayModel

__all__ = ["HnetVae", "PlainVae", "ReplayModel"]
