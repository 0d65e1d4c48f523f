"""The function that Ray runs for a trial travels by itself."""

from typing import Any

import pytest
import ray
from ray import cloudpickle, tune

from sweeps.workers.ray_function import ray_function


def train(plan: list[int], choice: dict[str, Any], report: Any) -> None:
    report({"sum": sum(plan) + choice["number"]})


def test_nothing_of_it_is_in_rays_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", said.append)
    travelled = cloudpickle.loads(cloudpickle.dumps(ray_function(train, [1, 2], None)))
    travelled({"number": 3})
    assert said == [{"sum": 6}]
    assert not ray.is_initialized()  # a driver with objects is ended with its node process
