"""What operations on an index report about their work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AddReport:
    """What `Index.add` or `Index.synchronize` did, so far or in all.

    Attributes:
        documents: documents read.
        committed: how many of those read are safe on disk; they survive a crash from now on.
        added: new documents.
        replaced: documents that took the place of an older version.
        unchanged: documents that were there with the same content; they were not embedded again.
        skipped: documents left out because their id was there before (`on_duplicate="skip"`).
        deleted: documents removed because the sources no longer have them (`synchronize` only).
        passages: passages embedded.
    """

    documents: int = 0
    committed: int = 0
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    skipped: int = 0
    deleted: int = 0
    passages: int = 0


Progress = Callable[[AddReport], None]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Index.verify` found.

    Attributes:
        files: files that were read.
        bytes: their size in all.
        problems: everything that is wrong, one line each; empty when all is well.
    """

    files: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What `repair_index` did.

    Attributes:
        rebuilt: the files that were written anew from what is sound.
        lost: documents that are gone, as the file that held them is damaged.
        returned: documents that may be back, as what said that they are deleted is damaged.
    """

    rebuilt: list[str]
    lost: int
    returned: int
