"""Merging segments and building structures while a writer goes on, in a thread of its own.

The work is done beside the index without its writer lock, which is taken for the moment in which a finished piece is
committed; whoever writes just then commits it with their own change. What was deleted or replaced meanwhile is deleted
in the new segment too. Where segments that a piece was made from are no longer there, as another process has merged
them, it is thrown away.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

import numpy as np

from lusirag.index.engine import load_faiss
from lusirag.index.files import FileRecord
from lusirag.index.lock import LockedError
from lusirag.index.manifest import SegmentRecord
from lusirag.index.merge import merged_content, next_merge, next_merge_for_structure
from lusirag.index.segment import Segment, largest_segment, open_segment, with_structure, write_segment, write_structure
from lusirag.index.snapshot import Snapshot, open_snapshot
from lusirag.index.staging import clear, staging
from lusirag.index.writer import Writer

logger = logging.getLogger(__name__)

_NICENESS = 10  # of the thread, where threads have one: searches go first
_POLL_SECONDS = 0.2
_PREPARED = "prepared"  # what a segment or a structure is called until it gets its place


class Task(Protocol):
    """A piece of work that makes an index quicker or smaller, and leaves what searches find as it is."""

    def prepare(self, place: Path) -> bool:
        """Write files into the directory `place`, which does not exist yet; return whether there is what to commit."""

    def commit(self, writer: Writer) -> None:
        """Make it part of the index, unless what it was made from is no longer there."""


class Maintenance:
    """The thread that does one task after the other for an index, as long as there are any.

    Args:
        directory: the index directory.
        writing: opens a change of the index, and calls `take_up` at its end.
    """

    def __init__(self, directory: Path, writing: Callable[[], AbstractContextManager[Writer]]) -> None:
        self._directory = directory
        self._writing = writing
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = False  # something has changed since the thread last looked
        self._prepared: Task | None = None
        self._closing = False
        self._error: Exception | None = None
        self._untrained: set[tuple[str, str]] = set()  # segments that are too small for a structure, and which one

    def wake(self, snapshot: Snapshot) -> None:
        """Begin with what there is to do in a state, or go on with it."""
        if next_task(snapshot, self._untrained) is None:
            return
        with self._mutex:
            self._wanted = True
            if not self._working:
                self._error = None
                thread = threading.Thread(target=self._run, name="lusirag maintenance")
                thread.start()
                self._thread = thread

    def take_up(self, writer: Writer) -> None:
        """Commit the task that is prepared, if any. An error is kept for `wait`: it is none of the change around it."""
        task = self._prepared
        if task is None:
            return
        try:
            task.commit(writer)
        except Exception as error:
            self._failed(error)
        finally:
            self._prepared = None

    def wait(self) -> None:
        """Return when nothing is left to do.

        Raises:
            Whatever ended the thread before that; the next change tries again.
        """
        self._join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Finish what there is to do, unless another process is at it or writes; errors were logged."""
        self._closing = True
        self._join()
        self._closing = False

    @property
    def _working(self) -> bool:
        return self._thread is not None and self._thread.is_alive()  # no thread survives a fork

    def _join(self) -> None:
        while self._working and (thread := self._thread) is not None:
            thread.join()

    def _run(self) -> None:
        try:
            _step_back()
            while self._goes_on():
                self._work()
        except Exception as error:
            self._failed(error)
            with self._mutex:
                self._thread, self._wanted = None, False

    def _goes_on(self) -> bool:
        """Whether the thread was woken since it last looked; else it ends, and who wakes it next begins another one."""
        with self._mutex:
            if not self._wanted:
                self._thread = None
            wanted, self._wanted = self._wanted, False
            return wanted

    def _work(self) -> None:
        with staging(self._directory, self._gives_up) as place:
            while place is not None and self._error is None:
                task = next_task(open_snapshot(self._directory), self._untrained)
                if task is None:
                    return
                clear(place)
                if task.prepare(place) and not self._handed_over(task):
                    return

    def _handed_over(self, task: Task) -> bool:
        """Have a task committed, by this thread or another one; return False when that is given up."""
        self._prepared = task
        while self._prepared is not None:
            try:
                with self._writing():
                    pass
            except LockedError:
                if self._gives_up():
                    self._prepared = None
                    return False
                time.sleep(_POLL_SECONDS)
        return True

    def _gives_up(self) -> bool:
        return self._closing or not threading.main_thread().is_alive()

    def _failed(self, error: Exception) -> None:
        self._error = error
        logger.warning("index %s is not merged, nor searched more quickly, for now: %s", self._directory, error)


def next_task(snapshot: Snapshot, untrained: set[tuple[str, str]]) -> Task | None:
    """What to do first in a state; None when all is well.

    Args:
        snapshot: the state.
        untrained: segments that cannot be given a structure, by name and factory string; more are added.
    """
    run = next_merge(snapshot.segments, largest_segment(snapshot.manifest.embedder.dimension))
    if run is None:
        run = next_merge_for_structure(snapshot)
    if run is not None:
        return _Merge(snapshot, run)
    for segment in snapshot.segments:
        factory = None if segment.structure is not None else snapshot.structure_for(segment.record.rows)
        if factory is not None and (segment.record.name, factory) not in untrained:
            return _NewStructure(segment, factory, untrained)
    return None


class _Merge:
    """Adjacent segments become one, which has its structure from the first moment on."""

    def __init__(self, snapshot: Snapshot, run: slice) -> None:
        self._snapshot = snapshot
        self._run = run
        self._sources = snapshot.segments[run]

    def prepare(self, place: Path) -> bool:
        logger.info("merging %d segments", len(self._sources))
        record = write_segment(place, _PREPARED, merged_content(self._snapshot, self._run))
        if (factory := self._snapshot.structure_for(record.rows)) is not None:
            segment = open_segment(place, record, self._snapshot.manifest.embedder.dimension)
            path = f"segments/{_PREPARED}/{_PREPARED}.faiss"
            if (written := write_structure(segment, factory, place, path)) is not None:
                record = with_structure(record, written, factory)
        self._prepared: tuple[Path, SegmentRecord] = place, record
        return True

    def commit(self, writer: Writer) -> None:
        segments = writer.snapshot.segments
        first = _place(segments, self._sources)
        if first is None:
            return
        run = slice(first, first + len(self._sources))
        merged = writer.take_segment(*self._prepared)
        _load(merged)
        # Rows that were deleted before are not in it; those that are now were deleted while it was prepared.
        pairs = zip(self._sources, segments[run], strict=True)
        deleted = np.concatenate([now.deleted[~before.deleted] for before, now in pairs])
        if deleted.any():
            merged = writer.add_tombstones(merged, deleted)
        writer.commit([*segments[: run.start], merged, *segments[run.stop :]])


class _NewStructure:
    """A segment gets the structure that it should have."""

    def __init__(self, segment: Segment, factory: str, untrained: set[tuple[str, str]]) -> None:
        self._segment = segment
        self._factory = factory
        self._untrained = untrained

    def prepare(self, place: Path) -> bool:
        place.mkdir()
        written = write_structure(self._segment, self._factory, place, _PREPARED)
        if written is None:
            self._untrained.add((self._segment.record.name, self._factory))
            return False
        self._prepared: tuple[Path, FileRecord] = place, written
        return True

    def commit(self, writer: Writer) -> None:
        number = _place(writer.snapshot.segments, [self._segment])
        if number is not None:
            place, written = self._prepared
            segment = writer.take_structure(writer.snapshot.segments[number], place, written, self._factory)
            _load(segment)
            writer.replace(number, segment)


def _place(segments: Sequence[Segment], wanted: Sequence[Segment]) -> int | None:
    """Where among segments the wanted ones stand one after the other, whatever was deleted in them; None if nowhere."""
    files = [segment.record.files for segment in segments]
    sought = [segment.record.files for segment in wanted]
    starts = (start for start in range(len(files)) if files[start : start + len(sought)] == sought)
    return next(starts, None)


def _load(segment: Segment) -> None:
    """Read its structure now, so that the first search need not wait for it."""
    if segment.structure is not None:
        segment.structure.load()


def _step_back() -> None:
    """Let this thread take half of the processors, and only what is left over of them."""
    faiss = load_faiss()
    faiss.omp_set_num_threads(max(1, faiss.omp_get_max_threads() // 2))  # of this thread alone
    if sys.platform == "linux":
        with suppress(OSError):  # where that is forbidden
            os.nice(_NICENESS)  # there it is of the thread alone
