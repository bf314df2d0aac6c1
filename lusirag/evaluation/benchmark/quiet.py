"""Running mteb without its own talk."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

# Draws a bar that no argument turns off.
_WITH_A_BAR = "mteb._evaluators.text.summarization_evaluator"


@contextmanager
def quiet_mteb() -> Iterator[None]:
    """Keep mteb and datasets from logging and from drawing bars, where no argument of theirs does.

    Errors are still logged. What is changed for the time is put back at the end.
    """
    import datasets

    loud = logging.getLogger("mteb"), logging.getLogger("datasets")
    levels = [logger.level for logger in loud]
    bars = datasets.are_progress_bars_disabled() is False
    for logger in loud:
        logger.setLevel(logging.ERROR)
    if bars:
        datasets.disable_progress_bars()
    with_a_bar: Any = sys.modules.get(_WITH_A_BAR)
    bar = getattr(with_a_bar, "tqdm", None)
    if bar is not None:
        with_a_bar.tqdm = _without_bar
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"mteb(\.|$)")
            # scikit-learn's own: a label that no prediction has, a classifier that stops early, few points a cluster.
            warnings.filterwarnings("ignore", module=r"sklearn(\.|$)")
            yield
    finally:
        if bar is not None:
            with_a_bar.tqdm = bar
        if bars:
            datasets.enable_progress_bars()
        for logger, level in zip(loud, levels, strict=True):
            logger.setLevel(level)


def _without_bar(values: Iterable[Any], **_: object) -> Iterable[Any]:
    return values
