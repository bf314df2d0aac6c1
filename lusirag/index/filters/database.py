"""The one place that imports DuckDB: a database in memory that reaches nothing but the tables it is handed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lusirag.errors import InvalidArgumentError, MissingDependencyError

# NOTE: one thread. A filter over a segment takes milliseconds, and searches in several threads each have a cursor.
_CONFIGURATION = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "temp_directory": "",
    "memory_limit": "1GB",
    "threads": "1",
}
# NOTE: pushed-down comparisons would be made by pyarrow, for which NaN > 1 is false; DuckDB's own say true, always.
_SETTINGS = ("SET disabled_optimizers = 'filter_pushdown'", "SET lock_configuration = true")

# What our SQL calls the rows and their number; no column of a user is called so.
ROWS = "lusirag: rows"
NUMBER = "lusirag: number"

_lock = threading.Lock()
_shared: dict[int, Any] = {}  # process -> its database, the same for all its threads


@contextmanager
def cursor() -> Iterator[Any]:
    """A DuckDB cursor for one statement, of this thread alone; DuckDB's refusals become errors in words.

    Raises:
        InvalidArgumentError: DuckDB refuses what it is given.
        MissingDependencyError: DuckDB is not installed.
    """
    duckdb = load_duckdb()
    own = _database(duckdb).cursor()
    try:
        yield own
    except (duckdb.InternalException, duckdb.FatalException) as error:
        # After either of them a database refuses everything.
        _shared.pop(os.getpid(), None)
        raise _refused(error) from error
    except (duckdb.Error, RecursionError) as error:
        raise _refused(error) from error
    finally:
        own.close()


def load_duckdb() -> Any:
    """Import DuckDB.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingDependencyError("filters need DuckDB, which is not installed. Run: pip install duckdb") from error
    return duckdb


def _database(duckdb: Any) -> Any:
    with _lock:
        # NOTE: a process that was forked has a database of its own, and never closes the one of its parent: that would
        # wait for threads that it does not have.
        process = os.getpid()
        if process not in _shared:
            database = duckdb.connect(":memory:", config=_CONFIGURATION)
            # The time zone belongs to an extension that packages of DuckDB usually contain. Without it, SQL reads
            # times without a zone as local ones.
            with suppress(duckdb.Error):
                database.execute("SET TimeZone = 'UTC'")
            for setting in _SETTINGS:
                database.execute(setting)
            _shared[process] = database
        return _shared[process]


def _refused(error: Exception) -> InvalidArgumentError:
    if isinstance(error, RecursionError):
        return InvalidArgumentError("where is nested too deeply; write it with fewer levels")
    line = (str(error).splitlines() or [type(error).__name__])[0]
    kind, _, rest = line.partition(" Error: ")
    return InvalidArgumentError(f"where cannot be evaluated: {rest if rest and ' ' not in kind.strip() else line}")
