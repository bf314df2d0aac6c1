"""Write the model card and the licences of an assembled model beside its weights."""

from __future__ import annotations

from pathlib import Path
from string import Template

CARD = Path(__file__).parent / "card"


def write_card(out: Path, *, vocabulary_size: int, layers: int) -> None:
    """Write README.md from card/README.md and copy the licences of the base models.

    Args:
        out: model directory. vocabulary_size, layers: what the card says of the network.
    """
    text = Template((CARD / "README.md").read_text(encoding="utf-8"))
    card = text.substitute(vocabulary_size=f"{vocabulary_size:,}", layers=layers)
    (out / "README.md").write_text(card, encoding="utf-8")
    for licence in sorted(CARD.glob("LICENSE-*")):
        (out / licence.name).write_bytes(licence.read_bytes())
