"""From queries to hits in one snapshot: by meaning, by words, or by both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from lusirag.index import flat
from lusirag.index.analysis import Terms
from lusirag.index.ann.nearest import nearest
from lusirag.index.files import damaged
from lusirag.index.filters import Where, matching
from lusirag.index.fusion import Fusion, Scores, fuse
from lusirag.index.languages import allowed_rows
from lusirag.index.lexical import Scored, best
from lusirag.index.passages import checked_vectors
from lusirag.index.postings import POSTINGS_FILE
from lusirag.index.ranking import Match, cosines
from lusirag.index.snapshot import Snapshot
from lusirag.index.tombstones import Mask, to_mask
from lusirag.types import Encoder, Hit, Vectors

logger = logging.getLogger(__name__)


def search_snapshot(
    snapshot: Snapshot,
    allowed: Sequence[flat.Candidates],
    k: int,
    *,
    vectors: Vectors | None = None,
    terms: Terms | None = None,
    fusion: Fusion | None = None,
) -> list[list[Hit]]:
    """The k best hits for each query among the candidates of each segment.

    Args:
        snapshot: where to search.
        allowed: of each segment.
        k: hits of a query.
        vectors: (n, dim) unit vectors of the queries, for dense and hybrid search.
        terms: of the queries, for lexical and hybrid search.
        fusion: for hybrid search.

    Raises:
        IndexStateError: a file of the lexical part was altered.
    """
    if terms is None:
        found = [] if vectors is None else _dense(snapshot, allowed, vectors, k)
    elif vectors is None:
        masks = _masks(allowed)
        found = [best(scored.scores, masks, k) for scored in _lexical(snapshot, terms)]
    else:
        found = _hybrid(snapshot, allowed, k, vectors, terms, fusion or Fusion())
    return _hits(snapshot, found)


def _hits(snapshot: Snapshot, found: Sequence[Sequence[Match]]) -> list[list[Hit]]:
    """The passages of what was found for each query; each segment is asked for all of its own at once."""
    by_segment: dict[int, list[Match]] = {}
    for matches in found:
        for match in matches:
            by_segment.setdefault(match.segment, []).append(match)
    read = {
        number: iter(snapshot.segments[number].documents.hits([each.row for each in own], [each.score for each in own]))
        for number, own in by_segment.items()
    }
    return [[next(read[match.segment]) for match in matches] for matches in found]


def _dense(snapshot: Snapshot, allowed: Sequence[flat.Candidates], vectors: Vectors, k: int) -> list[list[Match]]:
    structures = [segment.structure for segment in snapshot.segments]
    return nearest(allowed, structures, vectors, k, snapshot.manifest.ann.settings)


def _hybrid(
    snapshot: Snapshot, allowed: Sequence[flat.Candidates], k: int, vectors: Vectors, terms: Terms, fusion: Fusion
) -> list[list[Match]]:
    depth, masks = max(k, fusion.depth), _masks(allowed)
    found, unserved = [], 0
    dense = _dense(snapshot, allowed, vectors, depth)
    for query, by_meaning, scored in zip(vectors, dense, _lexical(snapshot, terms), strict=True):
        if not fusion.serves(scored.known):
            unserved += 1
            found.append(by_meaning[:k])
            continue
        by_words = best(scored.scores, masks, depth)
        found.append(fuse(by_meaning, by_words, fusion, exact=_exact(allowed, query, scored))[:k])
    if unserved:
        logger.warning(
            "%s: too few of its pieces occur in this index, so it was answered by meaning alone",
            "the query" if len(found) == 1 else f"{unserved} of {len(found)} queries",
        )
    return found


def _lexical(snapshot: Snapshot, terms: Terms) -> Iterator[Scored]:
    for number in range(len(terms.offsets) - 1):
        try:
            yield snapshot.lexicon.scores(terms.of(number))
        except ValueError as error:
            raise damaged(snapshot.directory, f"{POSTINGS_FILE} of a segment cannot be read: {error}") from error


def _exact(
    allowed: Sequence[flat.Candidates], query: npt.NDArray[np.float32], scored: Scored
) -> Callable[[Sequence[Match]], tuple[Scores, Scores]]:
    """The cosine of any passages, and which share of the query's weight they hold."""

    def score(matches: Sequence[Match]) -> tuple[Scores, Scores]:
        places = [(match.segment, match.row) for match in matches]
        similar = cosines([part.vectors for part in allowed], query, places)
        shares = [float(scored.scores[match.segment][match.row]) / scored.most for match in matches]
        return similar.astype(np.float64), np.array(shares, dtype=np.float64)

    return score


def _masks(allowed: Sequence[flat.Candidates]) -> list[Mask]:
    return [to_mask(part.allowed, len(part.vectors)) for part in allowed]


def query_vectors(embedder: Encoder, queries: Sequence[str], instruction: str | None) -> Vectors:
    """Unit vectors (n, dim) of queries.

    Raises:
        ModelError: the embedder returns something else.
    """
    return checked_vectors(embedder.encode_queries(queries, instruction=instruction), len(queries), embedder)


def candidates(
    snapshot: Snapshot, languages: Sequence[str] | None, where: Where | None = None
) -> list[flat.Candidates]:
    """The passages of each segment that may be found: live, in one of `languages` if given, let through by `where`."""
    segments = snapshot.segments
    allowed = [(part.live, part.live_rows) for part in segments]
    if languages is not None:
        allowed = allowed_rows(snapshot, languages)
    if where is not None:
        both = [live & found for (live, _), found in zip(allowed, matching(snapshot, where), strict=True)]
        allowed = [(bitmap, int(np.bitwise_count(bitmap).sum())) for bitmap in both]
    return [flat.Candidates(part.vectors, *rows) for part, rows in zip(segments, allowed, strict=True)]
