"""Searching harder until the worst language's recall reaches a target, and no harder than that."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from lusirag.errors import InvalidArgumentError
from lusirag.index.ann.questions import drawn, given
from lusirag.index.ann.recall import K, Measurement
from lusirag.index.ann.records import AnnRecord, LanguageRecall, RecallRecord, SearchSettings
from lusirag.index.manifest import content_state
from lusirag.index.snapshot import Snapshot
from lusirag.index.writer import Writer
from lusirag.types import Encoder

_DOUBLINGS = 6
_HALVINGS = 3  # so that what is chosen is within 2 ** (1 / 8) of the least that suffices
_LEAST = SearchSettings(ef_search=16, nprobe=16, rescored=1)

_Try = Callable[[SearchSettings], tuple[LanguageRecall, ...]]


def measure(
    writer: Writer, embedder: Encoder, queries: Sequence[str] | None, *, sample: int, seed: int, target: float | None
) -> RecallRecord:
    """Measure recall, search harder where `target` asks for it, and commit both; see `Index.measure_recall`."""
    if target is not None and not (isinstance(target, (int, float)) and 0 < target <= 1):
        raise InvalidArgumentError(f"recall is {target!r}; it must be a share above 0, at most 1, such as 0.95")
    snapshot = writer.snapshot
    questions = drawn(snapshot, sample, seed) if queries is None else given(queries)
    settings = snapshot.manifest.ann.settings
    languages: tuple[LanguageRecall, ...] = ()
    milliseconds = None
    if questions.texts and snapshot.passages:
        measurement = Measurement(snapshot, embedder, questions)
        if target is not None and _approximate(snapshot):
            settings = tuned(measurement.recall, target)
        languages = measurement.recall(settings)
        milliseconds = measurement.milliseconds(settings)
    state = content_state(snapshot.manifest)
    record = RecallRecord(K, len(questions.texts), questions.source, state, languages, milliseconds)
    ann: AnnRecord = dataclasses.replace(snapshot.manifest.ann, settings=settings, recall=record)
    if ann != snapshot.manifest.ann:
        writer.commit(snapshot.segments, ann=ann)
    return record


def tuned(attempt: _Try, target: float) -> SearchSettings:
    """The least settings with which the worst language reaches `target`; the most that are tried where none do.

    Everything is doubled until it suffices; then, of the number of candidates and of the width of the search in turn,
    as much is taken back as can be.
    """

    def suffices(settings: SearchSettings) -> bool:
        return min((each.recall for each in attempt(settings)), default=1.0) >= target

    settings = _LEAST
    for _ in range(_DOUBLINGS):
        if suffices(settings):
            break
        settings = _scaled(settings, 2, 2)
    else:
        return settings
    while settings.rescored > 1 and suffices(fewer := dataclasses.replace(settings, rescored=settings.rescored // 2)):
        settings = fewer
    low, high = 0.5, 1.0
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        if suffices(_scaled(settings, middle, 1)):
            high = middle
        else:
            low = middle
    return _scaled(settings, high, 1)


def _scaled(settings: SearchSettings, width: float, rescored: int) -> SearchSettings:
    return SearchSettings(
        ef_search=max(1, round(settings.ef_search * width)),
        nprobe=max(1, round(settings.nprobe * width)),
        rescored=settings.rescored * rescored,
    )


def _approximate(snapshot: Snapshot) -> bool:
    return any(segment.structure is not None for segment in snapshot.segments)
