"""`SqliteRecordManager`: what `langchain_core.indexing.index` has written, in an SQLite file."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from langchain_core.indexing import RecordManager

from lusirag.errors import InvalidArgumentError, StorageError

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS records (namespace TEXT NOT NULL, key TEXT NOT NULL, group_id TEXT, "
    "updated_at REAL NOT NULL, PRIMARY KEY (namespace, key)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS by_time ON records (namespace, updated_at)",
)
_UPSERT = "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET updated_at = excluded.updated_at"
_WAIT_S = 30.0  # for another process that writes


class SqliteRecordManager(RecordManager):
    """Remembers which documents an indexing run has written, so that the next one writes only what has changed.

    Any number of threads and processes may share a file. Its time is later than every record, though the clock may
    go back.

    Args:
        namespace: which records are meant; one file can hold those of several indexes.
        path: the file, made when there is none; its folder must exist. Beside the index directory, not within.

    Raises:
        InvalidArgumentError: ":memory:", for which langchain_core has InMemoryRecordManager.
        StorageError: from all methods: the file cannot be used.
    """

    def __init__(self, namespace: str, path: str | Path) -> None:
        super().__init__(namespace)
        if str(path) in ("", ":memory:"):
            raise InvalidArgumentError(
                f"path is {str(path)!r}; give a file, or use langchain_core.indexing.InMemoryRecordManager"
            )
        self.path = Path(path)

    def create_schema(self) -> None:
        """Make the file and its table; optional, as every method does."""
        with self._connection():
            pass

    def get_time(self) -> float:
        """Seconds since 1970, later than every record of the namespace."""
        with self._connection() as connection:
            return self._now(connection)

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Record keys as written now.

        Args:
            keys: n of them.
            group_ids: n of them, mostly the documents' sources; None keeps those of keys that are there.
            time_at_least: refuse when it is earlier than this.

        Raises:
            InvalidArgumentError: another number of group ids than of keys, or a time that has not come.
        """
        if group_ids is not None and len(group_ids) != len(keys):
            raise InvalidArgumentError(f"{len(group_ids)} group_ids were given for {len(keys)} keys; give one for each")
        statement = _UPSERT if group_ids is None else f"{_UPSERT}, group_id = excluded.group_id"
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            now = self._now(connection)
            if time_at_least is not None and now < time_at_least:
                raise InvalidArgumentError(f"time_at_least is {time_at_least}, but it is {now}; check the clock")
            groups = group_ids if group_ids is not None else [None] * len(keys)
            rows = [(self.namespace, key, group, now) for key, group in zip(keys, groups, strict=True)]
            connection.executemany(statement, rows)

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Whether each key is recorded."""
        with self._connection() as connection:
            found = connection.execute(
                "SELECT key FROM records WHERE namespace = ? AND key IN (SELECT value FROM json_each(?))",
                (self.namespace, json.dumps(list(keys))),
            ).fetchall()
        known = {key for (key,) in found}
        return [key in known for key in keys]

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Keys by time of their record, oldest first.

        Args:
            before, after: only those recorded before or after these times, excluded.
            group_ids: only those of these groups.
            limit: at most so many.
        """
        conditions, values = ["namespace = ?"], [self.namespace]
        parameters: list[str | float] = [*values]
        if before is not None:
            conditions.append("updated_at < ?")
            parameters.append(before)
        if after is not None:
            conditions.append("updated_at > ?")
            parameters.append(after)
        if group_ids is not None:
            conditions.append("group_id IN (SELECT value FROM json_each(?))")
            parameters.append(json.dumps(list(group_ids)))
        query = f"SELECT key FROM records WHERE {' AND '.join(conditions)} ORDER BY updated_at, key LIMIT ?"
        with self._connection() as connection:
            found = connection.execute(query, (*parameters, -1 if limit is None else limit)).fetchall()
        return [key for (key,) in found]

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Forget keys; unknown ones are no error."""
        with self._connection() as connection:
            connection.executemany(
                "DELETE FROM records WHERE namespace = ? AND key = ?", [(self.namespace, key) for key in keys]
            )

    async def acreate_schema(self) -> None:
        """As `create_schema`, in a thread."""
        await asyncio.to_thread(self.create_schema)

    async def aget_time(self) -> float:
        """As `get_time`, in a thread."""
        return await asyncio.to_thread(self.get_time)

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """As `update`, in a thread."""
        await asyncio.to_thread(self.update, keys, group_ids=group_ids, time_at_least=time_at_least)

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """As `exists`, in a thread."""
        return await asyncio.to_thread(self.exists, keys)

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """As `list_keys`, in a thread."""
        return await asyncio.to_thread(self.list_keys, before=before, after=after, group_ids=group_ids, limit=limit)

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """As `delete_keys`, in a thread."""
        await asyncio.to_thread(self.delete_keys, keys)

    def _now(self, connection: sqlite3.Connection) -> float:
        (last,) = connection.execute(
            "SELECT max(updated_at) FROM records WHERE namespace = ?", (self.namespace,)
        ).fetchone()
        return max(time.time(), math.nextafter(last or 0.0, math.inf))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction; one a call, because SQLite's must not be shared between threads."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as connection, connection:
                for statement in _SCHEMA:
                    connection.execute(statement)
                yield connection
        except sqlite3.Error as error:
            raise StorageError(
                f"the record file {self.path} cannot be used ({error}); give an SQLite file in a folder that exists"
            ) from error
