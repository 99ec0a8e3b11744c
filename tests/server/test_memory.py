"""Tests of `rtpmix.server.memory`: the allocator is asked, and elsewhere nothing breaks."""

from __future__ import annotations

import ctypes
import gc
import platform
from types import SimpleNamespace
from typing import Any

import pytest

from rtpmix.server.memory import KEPT, RareCollections, keep_freed_memory


def library(monkeypatch: pytest.MonkeyPatch, contents: Any) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: contents)


def test_both_thresholds_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """mallopt(3): M_TRIM_THRESHOLD is -1, M_MMAP_THRESHOLD -3; 1 is success."""
    asked: list[tuple[int, int]] = []

    def mallopt(option: int, value: int) -> int:
        asked.append((option, value))
        return 1

    library(monkeypatch, SimpleNamespace(mallopt=mallopt, gnu_get_libc_version=lambda: b"2.36"))
    assert keep_freed_memory()
    assert asked == [(-1, KEPT), (-3, KEPT)]


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    library(monkeypatch, SimpleNamespace(mallopt=lambda option, value: 1 / 0))
    assert not keep_freed_memory()


def test_real_library_takes_it_where_it_is_glibc() -> None:
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")


def test_collections_are_rare_until_the_last_user_ends() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    first, second = RareCollections(), RareCollections()
    first.begin()
    second.begin()
    first.end()
    first.end()
    assert gc.get_threshold() == RareCollections.THRESHOLDS
    assert gc.get_freeze_count() > frozen
    second.end()
    assert gc.get_threshold() == before
    RareCollections().end()
    assert gc.get_threshold() == before
