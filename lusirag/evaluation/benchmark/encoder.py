"""`BenchmarkEncoder`: any lusirag encoder as a model that mteb evaluates on every kind of task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.instructed import InstructedEncoder, checked_instructions
from lusirag.evaluation.benchmark.metadata import model_meta, mteb_name
from lusirag.evaluation.checking import checked_vectors
from lusirag.types import Encoder, Vectors

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models.model_meta import ModelMeta
    from mteb.types import PromptType


class BenchmarkEncoder:
    """mteb's view of an encoder (its `EncoderProtocol`): texts of a task in, vectors out.

    Queries and documents of retrieval and reranking are encoded as such. All other texts (to be classified, clustered
    or compared) are encoded as queries, which is how the published LUSIFER evaluation does it. The task's instruction
    goes wherever the model takes one, into documents too if its document template has a place for it.

    Args:
        encoder: `lusirag.Embedder`, or any object with the members of `lusirag.types.Encoder`.
        instructions: {task name: instruction}; a task that is not in it gets the model's default. Results are kept
            under the whole set, so give all of a benchmark's also where only some of its tasks are run.

    Raises:
        InvalidArgumentError: not an encoder, or not a mapping of texts.
        MissingDependencyError: mteb is not installed.
    """

    def __init__(self, encoder: Encoder, instructions: Mapping[str, str | None] | None = None) -> None:
        if not isinstance(encoder, Encoder):
            raise InvalidArgumentError(
                f"encoder is {encoder!r}; it must be an Embedder or another lusirag.types.Encoder"
            )
        self.encoder = encoder
        self.instructions = checked_instructions(instructions)
        self._meta = model_meta(encoder, self.instructions)

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """Under what mteb keeps results; see `model_meta`."""
        return self._meta

    @mteb_model_meta.setter
    def mteb_model_meta(self, registered: ModelMeta) -> None:
        # NOTE: mteb.get_model writes the registered entry here, which knows neither runtime nor instructions: what
        # keeps results apart stays, and only how the model was loaded is taken from it.
        self._meta = self._meta.model_copy(
            update={"loader": registered.loader, "loader_kwargs": registered.loader_kwargs}
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        precision: str | None = None,
        **encode_kwargs: Any,
    ) -> Vectors:
        """Encode texts of a task.

        Args:
            inputs: mteb's DataLoader: batches with their texts under "text"; titles are joined to them by mteb.
            task_metadata: its name finds the instruction.
            hf_split, hf_subset: not needed.
            prompt_type: the role; None outside retrieval.
            precision: of mteb's encode_kwargs; "float32" alone, which None means too.
            encode_kwargs: mteb's other ones, such as batch_size, are left aside: encoders choose batches themselves.

        Returns:
            float32 (n, dimension), unit length, in the order of `inputs`.

        Raises:
            InvalidArgumentError: another precision, under which mteb would file results that are not of it.
            ModelError: the encoder failed, or its vectors have a wrong shape, are zero or not finite.
        """
        if precision not in (None, "float32"):
            raise InvalidArgumentError(f"precision is {precision!r}; benchmarks run in float32, leave it out")
        texts = [text for batch in inputs for text in batch["text"]]
        encoder = InstructedEncoder(self.encoder, self.instructions.get(task_metadata.name))
        is_document = prompt_type is not None and prompt_type.value == "document"
        return checked_vectors(encoder, encoder.encode_documents if is_document else encoder.encode_queries, texts)

    def similarity(self, embeddings1: npt.ArrayLike, embeddings2: npt.ArrayLike) -> Any:
        """Cosines of (n, dimension) with (m, dimension), as a torch tensor (n, m)."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(np.asarray(embeddings1), np.asarray(embeddings2))

    def similarity_pairwise(self, embeddings1: npt.ArrayLike, embeddings2: npt.ArrayLike) -> Any:
        """Cosines of (n, dimension) with (n, dimension), row by row, as a torch tensor (n,)."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(np.asarray(embeddings1), np.asarray(embeddings2))


def load_encoder(
    name: str,
    revision: str | None = None,
    *,
    device: str | None = None,
    embed_dim: int | None = None,
    instructions: Mapping[str, str | None] | None = None,
    **options: Any,
) -> BenchmarkEncoder:
    """Load a model by the name under which `register_models` gives it to mteb.

    Args:
        name: "lusirag/lusifer-mini", or a hub id.
        revision: branch, tag or commit of a hub id; embedded models have one revision only.
        device, embed_dim: as mteb calls what `Embedder.load` calls device and dimension.
        instructions: as for `BenchmarkEncoder`.
        options: of `Embedder.load`: runtime, dtype, devices, batch_tokens, ...

    Raises:
        LusiragError: what `Embedder.load` and `BenchmarkEncoder` raise.
    """
    from lusirag.embedding import Embedder
    from lusirag.embedding.catalog import EMBEDDED_MODELS

    embedded = {mteb_name(short): short for short in EMBEDDED_MODELS}
    if name in embedded:
        embedder = Embedder.load(embedded[name], device=device, dimension=embed_dim, **options)
    else:
        embedder = Embedder.load(name, revision=revision, device=device, dimension=embed_dim, **options)
    return BenchmarkEncoder(embedder, instructions)
