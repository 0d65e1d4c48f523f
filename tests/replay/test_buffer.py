"""The buffer: what is kept, within its budget, and what herding chooses."""

import pytest
import torch
from torch import Tensor

from hcl.replay.buffer import Buffer, herding


def buffer(size: int = 6, num_logits: int = 0) -> Buffer:
    made = Buffer(size, (3,), torch.Generator().manual_seed(1), num_logits)
    made.begin(torch.zeros(1, 3))
    return made


def test_herding_against_a_loop() -> None:
    torch.manual_seed(0)
    features = torch.randn(12, 4, dtype=torch.float64)
    chosen: list[int] = []
    for k in range(1, 6):
        distances = {}
        for i in set(range(12)) - set(chosen):
            mean = (features[i] + sum(features[j] for j in chosen)) / k
            distances[i] = float((features.mean(0) - mean).norm())
        chosen.append(min(distances, key=distances.__getitem__))
    assert herding(features, 5).tolist() == chosen
    assert sorted(herding(features, 99).tolist()) == list(range(12))


def test_every_class_has_an_equal_part_and_gives_up_its_last() -> None:
    made = buffer(6)
    x = torch.arange(30.0).view(10, 3)

    def largest_first(own: Tensor) -> Tensor:
        return own[:, 0].argsort(descending=True)

    made.share(x, torch.tensor([0] * 5 + [1] * 5), largest_first)
    assert made.kept_y.tolist() == [0, 0, 0, 1, 1, 1]
    assert made.kept_x[:, 0].tolist() == [12, 9, 6, 27, 24, 21]
    made.share(x, torch.tensor([2] * 10), largest_first)
    assert made.kept_y.tolist() == [0, 0, 1, 1, 2, 2] and made.counts == [2, 2, 2]
    assert made.kept_x[:, 0].tolist() == [12, 9, 27, 24, 27, 24]


def test_a_budget_below_the_number_of_classes_is_kept() -> None:
    made = buffer(2)
    made.share(torch.rand(9, 3), torch.arange(9) // 3, made.random_order)
    assert len(made) == 2 and made.counts == [1, 1]


def test_batches_fill_a_reservoir_with_their_logits() -> None:
    made = buffer(50, num_logits=2)
    for start in range(0, 300, 20):
        y = torch.arange(start, start + 20)
        made.offer(y[:, None].expand(-1, 3).float(), y, torch.stack([y, -y], 1).float())
    assert len(made) == 50 and made.num_seen == 300
    assert len(made.kept_y.unique()) == 50
    assert torch.equal(made.kept_x[:, 1], made.kept_y.float())
    assert torch.equal(made.kept_logits[:, 1], -made.kept_y.float())
    assert 100 < made.kept_y.float().mean() < 200  # 149.5 with a standard deviation of 11.2


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pixels_take_a_byte_and_features_four(dtype: torch.dtype) -> None:
    made = Buffer(10, (3,), torch.Generator(), 2)
    made.begin(torch.zeros(1, 3, dtype=dtype))
    x = torch.tensor([[0.2, 1.0, 0.0]]) if dtype == torch.uint8 else torch.tensor([[-7.5, 3.0, 9]])
    made.offer(x, torch.tensor([4]), torch.ones(1, 2))
    torch.testing.assert_close(made.inputs(torch.tensor([0])), x)
    own = made.kept_x.nbytes + made.kept_y.nbytes + made.kept_logits.nbytes
    assert made.num_bytes(1) == own == 3 * made.kept_x.element_size() + 8 + 8
    assert made.num_bytes() == 10 * own == made.num_bytes(99)
