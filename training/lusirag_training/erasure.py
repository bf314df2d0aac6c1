"""Taking out of a model's embeddings what tells only the script of a text, by the model's own vocabulary.

A collection in many languages is searched badly where a passage scores higher for its script than for what it says.
Which directions of an embedding tell scripts apart is found without any text: random pieces of the tokenizer's
vocabulary say nothing, so random texts of one script differ from those of another by the script alone.

As in least-squares concept erasure (LEACE; Belrose et al. 2023, arXiv 2306.03819), the directions are found, and taken
out, where embeddings are measured by how texts of one script differ from each other: so what is taken out carries as
little else as possible. Unlike there, a direction goes the farther the better it tells scripts apart, none of them
wholly: same-language search, where the script does no harm, needs what little else it carries.
"""

from __future__ import annotations

import copy
import shutil
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer

from lusirag import Embedder
from lusirag.embedding.catalog import EMBEDDED_MODELS
from lusirag.embedding.exporting import require_empty
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.model.files import CONFIG, INDEX, read_json, weight_files
from lusirag.model.published import is_published
from lusirag.model.saving import write
from lusirag.model.source import read_config, resolve_directory, tokenizer_file
from lusirag.types import Encoder, Vectors

TEXTS, PIECES = 200, 8  # random texts of a script, and pieces in each
SOFTNESS = 0.5
_FEWEST_PIECES = 300  # of a script that counts
_SINGULAR = 1e3  # beyond this condition numbers of 16 bits, as an erasure is stored in, cannot be trusted
_STALE = ("*.safetensors", "*.onnx", INDEX, CONFIG)  # not copied: written anew, or to be written anew

Matrix = npt.NDArray[np.float64]


class Directions(NamedTuple):
    """R directions of embeddings of O numbers, and what is taken away for each: x becomes x - x @ read @ write.

    Attributes:
        read: (O, R). write: (R, O).
    """

    read: Matrix
    write: Matrix


class Erased(NamedTuple):
    """What `erase_scripts` did.

    Attributes:
        scripts: pieces of each script that counts.
        directions: R.
        before, after: how far apart the scripts are: the share of the variance of the random texts' embeddings that
            lies between scripts.
    """

    scripts: dict[str, int]
    directions: int
    before: float
    after: float


def erase_scripts(
    model: str | Path,
    out: Path,
    *,
    softness: float = SOFTNESS,
    seed: int = 0,
    device: str | None = None,
    local_files_only: bool = False,
) -> Erased:
    """Write a model again with an erasure of scripts at its end; its other weights stay as they are, bit for bit.

    A model that has an erasure gets a new one in its place, as after further training. An ONNX form is not copied:
    `lusirag models export OUT --out OUT --graph-only` writes that of the new one. An index that was built with the
    model does not go with the new one.

    Args:
        model: an embedded name, a model directory, or a hub id.
        out: a directory that does not exist or is empty.
        softness: what is left of the direction that tells scripts apart best is softness / (1 + softness); 0 takes all
            directions out wholly.
        seed: of the random texts.
        device: of torch; the first GPU when there is one.
        local_files_only: of a hub id.

    Raises:
        InvalidArgumentError: `softness` is negative, or `out` holds something.
        ModelError: the model cannot be read or written, is in the published code's form, or its vocabulary has one
            script; or it has an erasure that nothing was left of.
    """
    if not softness >= 0:
        raise InvalidArgumentError(f"softness is {softness}; give 0 or more")
    require_empty(out)
    directory = resolve_directory(EMBEDDED_MODELS.get(str(model), model), local_files_only=local_files_only)
    if is_published(read_json(directory / CONFIG)):
        raise ModelError(f"{model} is in the published form; first run `lusirag models export {model} --out DIR`")
    config = copy.deepcopy(read_config(directory, local_files_only=local_files_only))
    file = tokenizer_file(directory, config, local_files_only=local_files_only)
    with Embedder.load(directory, runtime="torch", device=device) as embedder:
        tokenizer = Tokenizer.from_file(str(file))
        pieces = script_pieces(tokenizer)
        if len(pieces) < 2:
            raise ModelError(
                f"the vocabulary of {model} has {_FEWEST_PIECES} pieces or more of "
                f"{' and '.join(pieces) or 'no'} script alone; erasure is for multilingual models"
            )
        vectors = embed_random_texts(embedder, tokenizer, pieces, seed=seed)
    stored = _stored(directory)
    if config.erased_directions:
        vectors = _put_back(vectors, *(stored[f"erasure.{name}"].double().numpy() for name in Directions._fields))
    found = find_directions(vectors, softness=softness)
    erased = {name: each - each @ found.read @ found.write for name, each in vectors.items()}

    config.erased_directions = found.read.shape[1]
    for name, matrix in (("read", found.read), ("write", found.write)):
        stored[f"erasure.{name}"] = torch.from_numpy(matrix.astype(np.float16))
    try:
        shutil.copytree(directory, out, ignore=shutil.ignore_patterns(*_STALE), dirs_exist_ok=True)
    except OSError as error:
        raise ModelError(f"the model cannot be written to {out} ({error}); free space or choose another") from error
    if not (out / file.name).is_file():
        shutil.copyfile(file, out / file.name)
    write(config, stored, out, max_shard_size="5GB")
    return Erased(
        {name: len(each) for name, each in pieces.items()},
        config.erased_directions,
        share_between(vectors),
        share_between(erased),
    )


def script_pieces(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """The vocabulary's pieces of two letters or more by script, as Unicode names it; scripts with few are left out."""
    found: dict[str, list[int]] = defaultdict(list)
    for number in range(tokenizer.get_vocab_size()):
        piece = tokenizer.decode([number]).strip().removeprefix("##")
        if len(piece) < 2 or not all(character.isalpha() or _is_mark(character) for character in piece):
            continue
        scripts = {unicodedata.name(character, "").split(" ")[0] for character in piece if character.isalpha()}
        if len(scripts) == 1:
            found[scripts.pop()].append(number)
    return {name: found[name] for name in sorted(found) if len(found[name]) >= _FEWEST_PIECES}


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def embed_random_texts(
    embedder: Encoder, tokenizer: Tokenizer, pieces: Mapping[str, Sequence[int]], *, texts: int = TEXTS, seed: int = 0
) -> dict[str, Matrix]:
    """Embeddings (texts, O) of random pieces of each script, joined as the tokenizer joins them, as documents."""
    random = np.random.default_rng(seed)
    rows = [tokenizer.decode(random.choice(each, PIECES).tolist()) for each in pieces.values() for _ in range(texts)]
    vectors: Vectors = embedder.encode_documents(rows)  # (scripts * texts, O)
    return dict(zip(pieces, vectors.astype(np.float64).reshape(len(pieces), texts, -1), strict=True))


def find_directions(vectors: Mapping[str, Matrix], *, softness: float = SOFTNESS) -> Directions:
    """The directions that tell groups of vectors apart, each as far as it is to go.

    With the covariance W of the vectors of a group around their mean, and the groups' means M around the mean of all,
    the singular values s of M W^(-1/2) say how well a direction tells groups apart. The share s^2 / (s^2 + softness *
    max(s)^2) of it is taken out, obliquely: along W^(1/2) times the direction, for what W^(-1/2) times it reads.

    Args:
        vectors: (texts, O) of each group, two groups or more.
        softness: 0 or more.

    Returns:
        One direction fewer than there are groups, at most O - 1.
    """
    means = np.stack([each.mean(axis=0) for each in vectors.values()])  # (groups, O)
    within = np.concatenate([each - each.mean(axis=0) for each in vectors.values()])
    covariance = within.T @ within / len(within)  # (O, O)
    # Few texts know little of many directions: half of what is believed of each is that all are alike.
    covariance += np.eye(len(covariance)) * np.trace(covariance) / len(covariance)
    values, axes = np.linalg.eigh(covariance)
    root, inverse = (axes * values**power @ axes.T for power in (0.5, -0.5))  # (O, O)
    _, strength, found = np.linalg.svd((means - means.mean(axis=0)) @ inverse, full_matrices=False)
    count = min(len(means), means.shape[1]) - 1
    strength, found = strength[:count] ** 2, found[:count]  # (R,), (R, O)
    shares = strength / (strength + softness * strength[0])
    return Directions(inverse @ found.T * shares, found @ root)


def _put_back(vectors: Mapping[str, Matrix], read: Matrix, write: Matrix) -> dict[str, Matrix]:
    """What vectors were, but for their length, before an erasure."""
    kept = np.eye(len(read)) - read @ write
    if np.linalg.cond(kept) > _SINGULAR:
        raise ModelError("the model has an erasure that took its directions out wholly; give the model without it")
    inverse = np.linalg.inv(kept)
    whole = {name: each @ inverse for name, each in vectors.items()}
    return {name: each / np.linalg.norm(each, axis=1, keepdims=True) for name, each in whole.items()}


def share_between(vectors: Mapping[str, Matrix]) -> float:
    """The share of the variance of unit vectors that lies between their groups."""
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in vectors.values()]
    means = np.stack([each.mean(axis=0) for each in unit])
    between = float(means.var(axis=0).sum())
    return between / (between + float(np.mean([each.var(axis=0).sum() for each in unit])))


def _stored(directory: Path) -> dict[str, torch.Tensor]:
    try:
        return {name: tensor for file in weight_files(directory) for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the weights of {directory} cannot be read ({error}); copy or download it again") from error
