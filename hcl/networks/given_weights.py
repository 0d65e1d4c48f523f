"""Weights that a network starts from, read from a file (the setting `target/weights`)."""

import hashlib
from pathlib import Path

from torch import Tensor, nn

from hcl.config import TrialConfig
from hcl.networks.generated import output_names
from hcl.storage import checkpoint
from hcl.storage.files import DataError, resolve_root


def find(name: str, data_root: Path | str | None) -> Path:
    """Find the file `name` in the data root, or at its absolute path.

    Raises:
        DataError: there is no such file.
    """
    path = resolve_root(data_root) / name
    if not path.is_file():
        raise DataError(
            f"target/weights: there is no file {path}; put it there, or name the folder that has"
            " it with --data-root (HCL_DATA)"
        )
    return path


def check_weights(config: TrialConfig, data_root: Path | str | None) -> None:
    """Read the file that a trial's networks start from, if it names one.

    Raises:
        DataError: it is missing, damaged, or needs a library that is not installed.
    """
    if config.target.weights:
        read(find(config.target.weights, data_root))


def digest(path: Path) -> str:
    """Compute the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> dict[str, Tensor]:
    """Read a state dict written by torch.save (.pt, .pth) or safetensors; code is not executed.

    Raises:
        DataError: the file is damaged, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # needed for such files alone

            return dict(load_file(path))
        found = checkpoint.read(path)
    except ImportError as error:
        raise DataError(
            f"target/weights: {path} needs the library safetensors ({error}); install it, or write"
            " the weights with torch.save"
        ) from error
    except Exception as error:  # damaged bytes raise nearly anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"target/weights: {path} cannot be read ({reason})") from error
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise DataError(
            f"target/weights: {path} is no state dict; write one with"
            " torch.save(network.state_dict(), FILE)"
        )
    return found


def put_into(network: nn.Module, weights: dict[str, Tensor], num_outputs: int) -> None:
    """Copy weights and running statistics into `network`, by name.

    The output layer's are copied if they fit (a network trained on as many classes), and else stay
    as they are.

    Raises:
        DataError: one of the others is missing or has another shape.
    """
    own = network.state_dict()
    head = output_names(network, num_outputs)
    wrong = [
        f"{name} {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name not in head and (name not in weights or weights[name].shape != tensor.shape)
    ]
    if wrong:
        shown = ", ".join(wrong[:3]) + (", ..." if len(wrong) > 3 else "")
        raise DataError(f"target/weights: the file lacks {shown} or has it in another shape")
    fitting = {
        name: weights[name]
        for name, tensor in own.items()
        if name in weights and weights[name].shape == tensor.shape
    }
    network.load_state_dict({**own, **fitting})
