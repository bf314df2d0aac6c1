"""The state of an index that one object sees, and the changes that it makes: one after the other, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lusirag.errors import IndexStateError
from lusirag.index.maintenance import Maintenance
from lusirag.index.snapshot import Snapshot
from lusirag.index.writer import Writer, writing


class State:
    """What an `Index` holds of its directory.

    Args:
        snapshot: the state at first.
        read_only: refuse changes.
        background: merge and build structures in a thread of their own, see `maintenance`.
    """

    def __init__(self, snapshot: Snapshot, *, read_only: bool = False, background: bool = False) -> None:
        self._current: Snapshot | None = snapshot
        self._read_only = read_only
        self._changing = threading.RLock()
        self._maintenance = Maintenance(snapshot.directory, self.writing) if background else None

    @property
    def snapshot(self) -> Snapshot:
        """The state after the last change of this object.

        Raises:
            IndexStateError: it was closed.
        """
        if self._current is None:
            raise IndexStateError("this index object was closed; open the index again")
        return self._current

    @property
    def in_background(self) -> bool:
        """Whether larger merges and structures are left to a thread of their own."""
        return self._maintenance is not None

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Lock the index and start a change on its newest state; see `writer.writing`.

        Raises:
            IndexStateError: read-only, closed, locked by another writer, or damaged.
            StorageError: the directory cannot be written.
        """
        if self._read_only:
            directory = self.snapshot.directory
            raise IndexStateError(f"index {directory} was opened with read_only=True; open it without to change it")
        with self._changing:
            with writing(self.snapshot.directory, self.snapshot) as writer:
                writer.in_background = self.in_background
                try:
                    yield writer
                    if self._maintenance is not None:
                        self._maintenance.take_up(writer)
                finally:
                    self._current = writer.snapshot
            if self._maintenance is not None:
                self._maintenance.wake(writer.snapshot)

    def wait(self) -> None:
        """Return when nothing is left to do in the background.

        Raises:
            LusiragError: what ended that.
        """
        if self._maintenance is not None:
            self._maintenance.wait()

    def close(self) -> None:
        """Finish what is done in the background, and let go of the files."""
        if self._maintenance is not None:
            self._maintenance.close()
        self._current = None
