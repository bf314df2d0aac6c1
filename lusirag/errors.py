"""The errors a user of lusirag may meet. Every message says what was given, what is allowed and what to do next."""

from __future__ import annotations


class LusiragError(Exception):
    """Base of all errors that lusirag raises on purpose; on the command line it becomes one line."""


class InvalidArgumentError(LusiragError, ValueError):
    """An argument or option has a value that is not allowed (command line: exit code 2)."""


class CorpusError(LusiragError):
    """A source cannot be read, or a row in it cannot be used; names the file and the line or row."""


class ModelError(LusiragError):
    """A model directory is missing, incomplete, altered, or of a kind that is not supported."""


class IndexStateError(LusiragError):
    """An index directory is missing, not an index, locked, damaged, or made with another model."""


class StorageError(LusiragError):
    """The file system refused a write: no permission, no space left. What was committed before stays."""


class MissingDependencyError(LusiragError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""
