"""The garbage collector rests during imports and is afterwards as before."""

import gc
import weakref

import pytest

from sweeps.workers.warm_imports import importing


class Knot:
    """An object that refers to itself, so that the collector alone frees it."""

    def __init__(self) -> None:
        self.me = self


def test_nothing_is_collected_meanwhile_and_what_is_there_is_set_aside() -> None:
    before = gc.get_freeze_count()
    try:
        with importing():
            assert not gc.isenabled()
            held = [[] for _ in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= before + len(held)
    finally:
        gc.unfreeze()


def test_later_garbage_is_collected_after_an_error_too() -> None:
    try:
        with pytest.raises(ImportError), importing():
            raise ImportError
        seen = weakref.ref(Knot())
        gc.collect()
        assert seen() is None
    finally:
        gc.unfreeze()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
