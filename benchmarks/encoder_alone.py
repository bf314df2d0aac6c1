"""A multilingual encoder of the e5 family as a model of lusirag's own form, without a language model, to compare with.

    python -m benchmarks.encoder_alone multilingual-e5-small runs/multilingual-e5-small

The first directory is a transformers one, with tokenizer.json; the second gets the model with its ONNX form, run by
onnxruntime in 8 bits like lusifer-mini.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from lusirag.embedding.onnx_export import export_onnx
from lusirag.model import LusiferModel

TEMPLATES = {"query": "query: {text}", "document": "passage: {text}"}


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    print(encoder_alone(options.source, options.out))


def encoder_alone(source: Path, out: Path) -> Path:
    """An encoder as a LUSIFER model without a language model, in its ONNX form."""
    LusiferModel.from_base_models(source, None, templates=TEMPLATES).save_pretrained(out)
    shutil.copyfile(source / "tokenizer.json", out / "tokenizer.json")
    export_onnx(out, out, graph_only=True)
    return out


if __name__ == "__main__":
    main()
