"""scikit-learn's bundled 8×8 digits: 1797 images, no download. For demos and tests."""

from importlib.metadata import PackageNotFoundError, distribution

import numpy as np

from hcl.benchmarks.files import RawArrays, frozen
from hcl.storage.files import DataError

IN_SCIKIT_LEARN = "sklearn/datasets/data/digits.csv.gz"
RAW_MAX = 16  # scikit-learn's pixels are 0..16
TEST_FRACTION = 0.2
SPLIT_SEED = 0  # the data set has no official split; this one is part of the benchmark


def load() -> RawArrays:
    """Scale the images to 0..255, as MNIST's, and split every class into 80/20.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        # The file alone: importing scikit-learn takes longer than a short trial.
        file = distribution("scikit-learn").locate_file(IN_SCIKIT_LEARN)
        table = np.loadtxt(str(file), np.int64, delimiter=",")
    except (PackageNotFoundError, FileNotFoundError) as error:
        raise DataError(
            "the digits come with scikit-learn, which is not installed; install scikit-learn"
            " or choose an MNIST benchmark"
        ) from error
    images, labels = table[:, :-1], table[:, -1]
    x = np.round(images.reshape(-1, 8, 8) * (255 / RAW_MAX)).astype(np.uint8)
    test = _test_indices(labels)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return frozen(
        {
            "x_train": x[train],
            "y_train": labels[train],
            "x_test": x[test],
            "y_test": labels[test],
        }
    )


def _test_indices(labels: np.ndarray) -> np.ndarray:
    # RandomState, not Generator: NumPy promises never to change its streams.
    generator = np.random.RandomState(SPLIT_SEED)
    chosen = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        chosen.append(members[: round(TEST_FRACTION * len(members))])
    return np.sort(np.concatenate(chosen))
