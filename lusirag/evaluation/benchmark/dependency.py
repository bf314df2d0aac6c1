"""Where mteb comes in: imported when it is first needed, with an error that names the extra."""

from __future__ import annotations

from lusirag.errors import MissingDependencyError


def require_mteb() -> str:
    """Import mteb, which takes seconds, and return its version.

    Raises:
        MissingDependencyError: it is not installed, or something that it needs is not.
    """
    try:
        import mteb
    except ImportError as error:
        raise MissingDependencyError(
            f'benchmarks need mteb, which cannot be imported ({error}). Run: pip install "lusirag[eval]"'
        ) from error
    return str(mteb.__version__)
