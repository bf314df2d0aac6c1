"""Model directories for others: ours from whatever was loaded, and one that sentence-transformers opens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from lusirag.embedding.catalog import EMBEDDED_MODELS
from lusirag.embedding.templates import Template
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.model.files import CONFIG, TOKENIZER

CARD = "README.md"
MODULE = "lusirag.embedding.sentence_transformers_module.LusiferModule"
NORMALIZE = "sentence_transformers.base.modules.Normalize"


def export_model(
    model: str | Path,
    out: Path,
    *,
    bits: int | None = None,
    max_shard_size: int | str = "5GB",
    revision: str | None = None,
    local_files_only: bool = False,
) -> None:
    """Write a whole model directory: config.json, weights with LoRA merged, tokenizer.json, model card.

    Args:
        model: as `Embedder.load` takes it; a published checkpoint or adapters become a directory of our own.
        out: directory to write; it must not exist or be empty.
        bits: 8 or 4: weights in blocks of that many bits; None: as they are.
        max_shard_size: of one weight file, in bytes or as "5GB".
        revision, local_files_only: of a hub id.

    Raises:
        ModelError: the model cannot be loaded, or the directory cannot be written.
        InvalidArgumentError: `bits` is not allowed, or the directory holds something.
    """
    from lusirag.model import LusiferModel
    from lusirag.model.source import read_config, resolve_directory, tokenizer_file

    require_empty(out)
    directory = resolve_directory(
        EMBEDDED_MODELS.get(str(model), model), revision=revision, local_files_only=local_files_only
    )
    network = LusiferModel.from_pretrained(directory, merge_adapters=True, local_files_only=local_files_only)
    tokenizer = tokenizer_file(
        directory, read_config(directory, local_files_only=local_files_only), local_files_only=local_files_only
    )
    network.save_pretrained(out, bits=bits, max_shard_size=max_shard_size)
    shutil.copyfile(tokenizer, out / TOKENIZER)
    if (directory / CARD).is_file():
        shutil.copyfile(directory / CARD, out / CARD)


def export_sentence_transformers(
    model: str | Path, out: Path, *, revision: str | None = None, local_files_only: bool = False
) -> None:
    """Write a directory that `SentenceTransformer(out, trust_remote_code=True)` opens, where lusirag is installed.

    Its `encode_query` and `encode_document` give the vectors of `Embedder`; `encode` treats texts as documents.

    Args:
        model, out, revision, local_files_only: as in `export_model`.

    Raises:
        ModelError: as in `export_model`, or the model writes something after a text, which sentence-transformers
            cannot express.
    """
    from lusirag.model.source import read_config, resolve_directory

    directory = resolve_directory(
        EMBEDDED_MODELS.get(str(model), model), revision=revision, local_files_only=local_files_only
    )
    config = read_config(directory, local_files_only=local_files_only)
    prompts = {role: _prompt(Template(role, *config.text_format(role))) for role in ("query", "document")}
    export_model(directory, out, local_files_only=local_files_only)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": MODULE},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": NORMALIZE},
    ]
    settings = {
        "model_type": "SentenceTransformer",
        "prompts": prompts,
        "default_prompt_name": "document",
        "similarity_fn_name": "cosine",
    }
    (out / "1_Normalize").mkdir()
    _write_json(out / "1_Normalize" / "config.json", {"module_input_name": "sentence_embedding"})
    _write_json(out / "modules.json", modules)
    _write_json(out / "config_sentence_transformers.json", settings)


def push_to_hub(directory: Path, repository: str, *, private: bool = False, message: str | None = None) -> str:
    """Upload an exported directory to the hub and return its address.

    Args:
        directory: as one of the exports wrote it.
        repository: "owner/name"; it is created where it does not exist.

    Raises:
        ModelError: no such directory, or the hub refused.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if not (directory / CONFIG).is_file():
        raise ModelError(f"{directory} is no model directory; export a model there first")
    try:
        hub = HfApi()
        hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=directory, commit_message=message or f"Upload {repository}")
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(f"the hub did not take {repository!r} ({str(error).splitlines()[0]})") from error
    return f"https://huggingface.co/{repository}"


def require_empty(out: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        InvalidArgumentError: it does, or it is a file.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidArgumentError(f"{out} exists and is not an empty folder; choose another one")


def _prompt(template: Template) -> str:
    before, after = template.surroundings(None)
    if after:
        raise ModelError(
            f"the {template.role} template {template.pattern!r} writes {after!r} after a text; "
            "sentence-transformers can only write before it"
        )
    return before


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")
