"""Write the index of today's format that the tests of later versions read; run once for each format.

python tests/data/write_index.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "index"))

from fake_embedder import WORDS, WordEmbedder, document, documents

from lusirag.index import Index
from lusirag.index.ann import kinds
from lusirag.index.manifest import FORMAT_VERSION
from lusirag.types import Document


def main() -> None:
    """Two segments, the larger one with a structure; deleted, replaced and split documents; recall measured."""
    kinds.SMALLEST_SEGMENT = 64
    path = Path(__file__).parent / f"index-format-{FORMAT_VERSION}"
    with Index.create(path, WordEmbedder(), ann="hnsw", chunk_tokens=8, overlap=2) as index:
        index.add(documents(range(80)), commit_passages=1000)
        long = " ".join(WORDS[number % len(WORDS)] for number in range(20))
        index.add([Document("long", long, "title", "en", "here", {"year": 1948, "tags": ["a", "b"]}), document(1, 1)])
        index.delete(["d2"])
        index.measure_recall(sample=10)
    (path / "writer.lock").unlink()


if __name__ == "__main__":
    main()
