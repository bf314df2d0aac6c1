"""The text that a model is shown: its template, an instruction and the user's text."""

from __future__ import annotations

from dataclasses import dataclass

from lusirag.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Template:
    """A text format of one role, such as "query: {text}" or "{instruction}.\\n{text}".

    Args:
        role: "query" or "document", for messages.
        pattern: holds {text} once and may hold {instruction}.
        instruction: written where none is given.
    """

    role: str
    pattern: str
    instruction: str

    @property
    def takes_instruction(self) -> bool:
        """Whether the pattern has a place for an instruction."""
        return "{instruction}" in self.pattern

    def surroundings(self, instruction: str | None) -> tuple[str, str]:
        """What stands before and after every text.

        Raises:
            InvalidArgumentError: an instruction was given and the pattern has no place for one.
        """
        if instruction and not self.takes_instruction:
            raise InvalidArgumentError(
                f"this model's {self.role} template is {self.pattern!r} and takes no instruction; "
                f"leave instruction={instruction!r} out or choose a model that is trained with instructions"
            )
        before, after = self.pattern.split("{text}")
        words = self.instruction if instruction is None else instruction
        return before.replace("{instruction}", words), after.replace("{instruction}", words)
