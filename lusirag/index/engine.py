"""The one place that imports FAISS, and what lets it read our arrays where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lusirag.errors import MissingDependencyError


def load_faiss() -> Any:
    """Import FAISS.

    Raises:
        MissingDependencyError: it is not installed, names the extras that bring it; or it is and cannot be loaded.
    """
    try:
        import faiss
    except (ImportError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "faiss":
            raise MissingDependencyError(
                'searching needs FAISS, which is not installed. Run: pip install "lusirag[cpu]"  '
                '(or "lusirag[gpu]" on Linux with an NVIDIA GPU; never both)'
            ) from error
        # FAISS for GPUs says which of NVIDIA's packages it lacks.
        raise MissingDependencyError(
            f"searching needs FAISS, which is installed and cannot be loaded: {' '.join(str(error).split())}"
        ) from error
    return faiss


def reason(error: BaseException) -> str:
    """The sentence of a FAISS error, without the place in its source."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return text.rpartition("Error: ")[2].rpartition("failed: ")[2].strip() or text


def too_few(error: BaseException) -> bool:
    """Whether a FAISS error says that there are fewer vectors than an index needs for its training."""
    return "Number of training points" in str(error)


def flat_index(codes: npt.NDArray[Any], ranges: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None) -> Any:
    """A flat FAISS index by inner product over codes that stay where they are; they must outlive it.

    Args:
        codes: (rows, dim) float32, float16, or uint8 that mean lowest + step * code.
        ranges: lowest and step, (dim,) each, for uint8.
    """
    faiss = load_faiss()
    dimension = codes.shape[1]
    if codes.dtype == np.float32:
        index = faiss.IndexFlatIP(dimension)
        use_codes(index, codes)
        return index
    kinds = faiss.ScalarQuantizer
    kind = kinds.QT_fp16 if ranges is None else kinds.QT_8bit
    index = faiss.IndexScalarQuantizer(dimension, kind, faiss.METRIC_INNER_PRODUCT)
    if ranges is not None:
        lowest, step = ranges
        # FAISS decodes to the middle of a code's 256th part.
        trained = np.concatenate([lowest - step / 2, 255 * step]).astype(np.float32)
        faiss.copy_array_to_vector(trained, index.sq.trained)
        index.is_trained = True
    use_codes(index, codes)
    return index


def use_codes(index: Any, codes: npt.NDArray[Any]) -> None:
    """Give an empty index that FAISS keeps codes in those that lie elsewhere, (rows, ...); they must outlive it."""
    faiss = load_faiss()
    content = codes.reshape(-1).view(np.uint8)
    # NOTE: FAISS's Python has no name for "no owner"; that of an empty vector is one.
    nobody = faiss.MaybeOwnedVectorUInt8().owner
    index.codes = faiss.MaybeOwnedVectorUInt8.create_view(faiss.swig_ptr(content), content.size, nobody)
    index.ntotal = len(codes)
