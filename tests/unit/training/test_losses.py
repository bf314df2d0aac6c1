"""The contrastive losses against closed forms written out by hand, and their options."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from lusirag_training.losses import Candidates, ContrastiveLoss, FalseNegatives
from tests.unit.training.loss_batches import OWNER, POSITIVE, random_batch, small_batch, unit_circle

ALL_KINDS: list[dict[str, Any]] = [
    {"kind": "nt_xent"},
    {"kind": "nt_xent", "similarity": "l2"},
    {"kind": "sup_con"},
    {"kind": "info_nce"},
    {"kind": "info_nce", "symmetric": True},
    {"kind": "info_nce", "miner_epsilon": 0.1},
    {"kind": "nt_xent", "matryoshka": [2, 6], "matryoshka_weights": [1, 3]},
]


def pair_loss(positive: float, *negatives: float) -> float:
    return -positive + math.log(math.exp(positive) + sum(map(math.exp, negatives)))


def degrees(angle: float) -> float:
    return math.cos(math.radians(angle))


def near(value: Tensor, expected: float) -> None:
    assert value.item() == pytest.approx(expected, rel=2e-6, abs=2e-7)


@pytest.mark.parametrize("options", ALL_KINDS)
@pytest.mark.parametrize("side", ["queries", "documents"])
def test_vectors_that_are_no_numbers_are_no_loss_of_zero(options: dict[str, Any], side: str) -> None:
    batch = random_batch()
    broken = torch.full_like(getattr(batch, side), math.nan)
    assert ContrastiveLoss(**options)(replace(batch, **{side: broken})).isnan()


def test_info_nce_by_hand() -> None:
    first = pair_loss(degrees(20) / 0.5, degrees(60) / 0.5, degrees(50) / 0.5)
    second = pair_loss(degrees(30) / 0.5, degrees(70) / 0.5, degrees(40) / 0.5)
    near(ContrastiveLoss(kind="info_nce", temperature=0.5)(small_batch()), (first + second) / 2)


def test_info_nce_on_distances_by_hand() -> None:
    def minus_distance(angle: float) -> float:
        return -2 * math.sin(math.radians(angle) / 2) / 0.5

    first = pair_loss(*map(minus_distance, (20, 60, 50)))
    second = pair_loss(*map(minus_distance, (30, 70, 40)))
    near(ContrastiveLoss(kind="info_nce", similarity="l2", temperature=0.5)(small_batch()), (first + second) / 2)


def test_own_negatives_only_by_hand() -> None:
    first = pair_loss(degrees(20) / 0.5, degrees(50) / 0.5)
    # The second query has no negative of its own: nothing to learn, a loss of 0.
    near(ContrastiveLoss(kind="info_nce", temperature=0.5)(small_batch(in_batch=False)), first / 2)


def test_symmetric_info_nce_by_hand() -> None:
    forward = ContrastiveLoss(kind="info_nce", temperature=0.5)(small_batch()).item()
    first = pair_loss(degrees(20) / 0.5, degrees(70) / 0.5)
    second = pair_loss(degrees(30) / 0.5, degrees(60) / 0.5)
    loss = ContrastiveLoss(kind="info_nce", temperature=0.5, symmetric=True)(small_batch())
    near(loss, (forward + (first + second) / 2) / 2)


def test_nt_xent_by_hand() -> None:
    """Anchors at 0, 90, 20, 60; everything is a candidate, queries too."""
    expected = [
        pair_loss(degrees(20), degrees(90), degrees(60), degrees(50)),
        pair_loss(degrees(30), degrees(90), degrees(70), degrees(40)),
        pair_loss(degrees(20), degrees(70), degrees(40), degrees(30)),
        pair_loss(degrees(30), degrees(60), degrees(40), degrees(10)),
    ]
    near(ContrastiveLoss(temperature=1.0)(small_batch()), sum(expected) / 4)


def test_sup_con_by_hand() -> None:
    """One query at 0 with positives at 10 and 30 and a negative at 90; each anchor has two positives."""
    batch = Candidates(
        queries=unit_circle(0),
        documents=unit_circle(10, 30, 90),
        owner=torch.zeros(3, dtype=torch.long),
        is_positive=torch.tensor([True, True, False]),
    )

    def anchor(*angles: float) -> float:  # two positives, one negative
        total = math.log(sum(math.exp(degrees(angle)) for angle in angles))
        return total - (degrees(angles[0]) + degrees(angles[1])) / 2

    expected = (anchor(10, 30, 90) + anchor(10, 20, 80) + anchor(30, 20, 60)) / 3
    near(ContrastiveLoss(kind="sup_con", temperature=1.0)(batch), expected)


def test_equal_labels_are_positives_of_each_other() -> None:
    """Two examples of one label: every query has two positives, and nothing but the hard negative is against it."""
    loss = ContrastiveLoss(kind="info_nce", temperature=1.0)(small_batch(query_labels=torch.tensor([7, 7])))
    first = [pair_loss(degrees(20), degrees(50)), pair_loss(degrees(60), degrees(50))]
    second = [pair_loss(degrees(70), degrees(40)), pair_loss(degrees(30), degrees(40))]
    near(loss, sum(first + second) / 4)


def test_with_own_negatives_only_equal_labels_join_nothing() -> None:
    for options in ALL_KINDS:
        loss = ContrastiveLoss(**options)
        labelled = random_batch(query_labels=torch.tensor([3, 8, 3, 1, 2]), in_batch=False)
        assert torch.equal(loss(labelled), loss(random_batch(in_batch=False)))


def test_labels_that_differ_change_nothing() -> None:
    plain = ContrastiveLoss()(random_batch())
    assert torch.equal(plain, ContrastiveLoss()(random_batch(query_labels=torch.tensor([9, 3, 4, -1, 0]))))


def test_equal_text_is_never_a_negative() -> None:
    """The hard negative of the first query is the text that answers the second one, and the second's positive its."""
    keys = torch.tensor([1, 2, 2])
    loss = ContrastiveLoss(kind="info_nce", temperature=1.0)(small_batch(document_keys=keys))
    first = pair_loss(degrees(20), degrees(60), degrees(50))
    second = pair_loss(degrees(30), degrees(70))  # the text at 50 is its own answer under another vector
    near(loss, (first + second) / 2)


def test_examples_that_share_an_answer_are_not_against_each_other() -> None:
    keys = torch.tensor([5, 5, 6])
    first, second = pair_loss(degrees(20), degrees(50)), pair_loss(degrees(30), degrees(40))
    near(ContrastiveLoss(kind="info_nce", temperature=1.0)(small_batch(document_keys=keys)), (first + second) / 2)
    # Neither are their queries and answers, when positives are anchors too: only the hard negative is left.
    anchors = [first, second, pair_loss(degrees(20), degrees(30)), pair_loss(degrees(30), degrees(10))]
    near(ContrastiveLoss(temperature=1.0)(small_batch(document_keys=keys)), sum(anchors) / 4)


def test_different_keys_change_nothing() -> None:
    for options in ALL_KINDS:
        loss = ContrastiveLoss(**options)
        assert torch.equal(loss(random_batch()), loss(random_batch(document_keys=torch.arange(len(OWNER)) * 2**40)))


@pytest.mark.parametrize(
    ("rule", "value", "angles_left"),
    [
        # Cosines to the first query: positive at 20 degrees 0.940, in-batch text at 60 0.5, hard negative at 50 0.643;
        # to the second: positive at 30 degrees 0.866, in-batch texts at 70 0.342 and at 40 0.766.
        ("percentage", 0.9, ([60, 50], [70, 40])),
        ("percentage", 0.8, ([60, 50], [70])),
        ("percentage", 0.5, ([50], [70])),
        ("margin", 0.05, ([60, 50], [70, 40])),
        ("margin", 0.2, ([60, 50], [70])),
        ("absolute", 0.6, ([60, 50], [70])),
        ("absolute", 0.3, ([50], [])),
    ],
)
def test_false_negatives(rule: str, value: float, angles_left: tuple[list[int], list[int]]) -> None:
    masked = FalseNegatives(rule=rule, value=value)
    loss = ContrastiveLoss(kind="info_nce", temperature=1.0, false_negatives=masked)
    first, second = (map(degrees, angles) for angles in angles_left)
    measured = loss.measure(small_batch())
    near(measured.loss, (pair_loss(degrees(20), *first) + pair_loss(degrees(30), *second)) / 2)
    near(measured.diagnostics.false_negatives, 1 - sum(map(len, angles_left)) / 4)


def test_false_negatives_among_the_own_negatives() -> None:
    masked = FalseNegatives(rule="percentage", value=0.6, own=True)
    loss = ContrastiveLoss(kind="info_nce", temperature=1.0, false_negatives=masked)(small_batch())
    near(loss, (pair_loss(degrees(20), degrees(60)) + pair_loss(degrees(30), degrees(70))) / 2)


def test_a_percentage_of_a_negative_cosine_masks_nothing() -> None:
    batch = small_batch(queries=unit_circle(180, 90))
    loss = ContrastiveLoss(kind="info_nce", false_negatives=FalseNegatives(value=0.99)).measure(batch)
    near(loss.loss, ContrastiveLoss(kind="info_nce")(batch).item())


def test_a_teacher_judges_false_negatives() -> None:
    """The teacher finds the second positive near the first query, though the model does not."""
    batch = small_batch(teacher_queries=torch.eye(3)[:2], teacher_documents=torch.eye(3)[[0, 0, 2]])
    masked = FalseNegatives(value=0.95)
    loss = ContrastiveLoss(kind="info_nce", temperature=1.0, false_negatives=masked, judge="teacher")(batch)
    second = pair_loss(degrees(30), degrees(70), degrees(40))  # the teacher's positive cosine is 0 there: none go
    near(loss, (pair_loss(degrees(20), degrees(50)) + second) / 2)


def test_the_miner_keeps_hard_pairs_only() -> None:
    # The farthest positive of the first query lies at 0.940: with 0.25 only texts above 0.690 are hard, none is, and
    # the pair goes. The second's at 0.866 and above 0.616: the text at 40 degrees (0.766) is.
    loss = ContrastiveLoss(kind="info_nce", temperature=1.0, miner_epsilon=0.25)(small_batch())
    near(loss, pair_loss(degrees(30), degrees(40)))


def test_nothing_left_to_learn_is_zero_with_a_gradient_of_zeros() -> None:
    for kind in ("nt_xent", "sup_con", "info_nce"):
        batch = random_batch()
        batch = replace(batch, is_positive=torch.zeros_like(batch.is_positive))
        loss = ContrastiveLoss(kind=kind)(batch)
        loss.backward()
        assert loss.item() == 0
        assert batch.queries.grad is not None
        assert not batch.queries.grad.any()


@pytest.mark.parametrize("options", ALL_KINDS)
def test_gradients_are_those_of_finite_differences(options: dict[str, Any]) -> None:
    batch = random_batch(dtype=torch.float64)
    loss = ContrastiveLoss(temperature=0.5, **options)

    def of_vectors(queries: Tensor, documents: Tensor) -> Tensor:
        return loss(replace(batch, queries=queries, documents=documents))

    assert torch.autograd.gradcheck(of_vectors, (batch.queries, batch.documents))


@pytest.mark.parametrize("in_batch", [False, True])
def test_the_gradient_of_distillation_is_that_of_finite_differences(in_batch: bool) -> None:
    teacher = random_batch(seed=9, width=4, dtype=torch.float64)
    batch = random_batch(
        dtype=torch.float64,
        in_batch=in_batch,
        teacher_queries=teacher.queries.detach(),
        teacher_documents=teacher.documents.detach(),
    )
    loss = ContrastiveLoss(temperature=0.5, distillation_weight=2.0, matryoshka=[3, 6])

    def of_vectors(queries: Tensor, documents: Tensor) -> Tensor:
        return loss(replace(batch, queries=queries, documents=documents))

    assert torch.autograd.gradcheck(of_vectors, (batch.queries, batch.documents))


@pytest.mark.parametrize("options", ALL_KINDS)
def test_the_order_of_documents_and_queries_means_nothing(options: dict[str, Any]) -> None:
    batch, loss = random_batch(dtype=torch.float64), ContrastiveLoss(**options)
    order, rows = torch.randperm(len(OWNER)), torch.tensor([3, 0, 4, 2, 1])
    place = torch.empty_like(rows).scatter_(0, rows, torch.arange(5))
    moved = replace(
        batch,
        queries=batch.queries[rows],
        documents=batch.documents[order],
        owner=place[batch.owner[order]],
        is_positive=batch.is_positive[order],
    )
    torch.testing.assert_close(loss(batch), loss(moved))


def test_own_negatives_only_is_what_each_example_gives_alone() -> None:
    """Ragged: weighted by the number of its positive pairs."""
    batch, loss = random_batch(dtype=torch.float64, in_batch=False), ContrastiveLoss()
    total, pairs = 0.0, 0
    for query in range(5):
        mine = batch.owner == query
        alone = Candidates(
            queries=batch.queries[query : query + 1],
            documents=batch.documents[mine],
            owner=torch.zeros(int(mine.sum()), dtype=torch.long),
            is_positive=batch.is_positive[mine],
        )
        answers = 1 + int(batch.is_positive[mine].sum())
        total += loss(alone).item() * answers * (answers - 1)
        pairs += answers * (answers - 1)
    near(loss(batch), total / pairs)


@pytest.mark.parametrize("options", ALL_KINDS)
def test_bfloat16_vectors_lose_nothing_inside(options: dict[str, Any]) -> None:
    low, loss = random_batch(dtype=torch.bfloat16), ContrastiveLoss(**options)
    high = replace(low, queries=low.queries.detach().float(), documents=low.documents.detach().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(low)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(high))
    value.backward()
    assert low.documents.grad is not None
    assert low.documents.grad.dtype == torch.bfloat16


def test_a_low_temperature_stays_finite() -> None:
    for options in ALL_KINDS:
        batch = random_batch()
        value = ContrastiveLoss(temperature=1e-4, **options)(batch)
        value.backward()
        assert value.isfinite()
        assert batch.queries.grad is not None
        assert batch.queries.grad.isfinite().all()


def test_identical_vectors_have_a_finite_gradient() -> None:
    """A document that repeats its query: the distance is 0, where a square root has no derivative."""
    queries = random_batch().queries.detach().requires_grad_()
    batch = replace(random_batch(), queries=queries, documents=queries[torch.tensor(OWNER)])
    ContrastiveLoss(similarity="l2")(batch).backward()
    assert queries.grad is not None
    assert queries.grad.isfinite().all()


def test_matryoshka_is_the_weighted_mean_over_normalised_prefixes() -> None:
    batch = random_batch(dtype=torch.float64)
    parts = []
    for length in (2, 6):
        shortened = replace(
            batch,
            queries=normalize(batch.queries[:, :length], dim=1),
            documents=normalize(batch.documents[:, :length], dim=1),
        )
        parts.append(ContrastiveLoss()(shortened).item())
    near(ContrastiveLoss(matryoshka=[2, 6], matryoshka_weights=[1, 3])(batch), (parts[0] + 3 * parts[1]) / 4)
    near(ContrastiveLoss(matryoshka=[2, 6])(batch), sum(parts) / 2)
    near(ContrastiveLoss(matryoshka=[6])(batch), parts[1])


def test_distillation_adds_the_divergence_from_the_teachers_ranking() -> None:
    generator = torch.Generator().manual_seed(5)
    teacher = [normalize(torch.randn(rows, 4, generator=generator), dim=1) for rows in (2, 3)]
    batch = small_batch(teacher_queries=teacher[0], teacher_documents=teacher[1])
    goal = (teacher[0] @ teacher[1].T / 0.1).softmax(1)
    ours = (batch.queries @ batch.documents.T / 0.1).log_softmax(1)
    expected = torch.nn.functional.kl_div(ours, goal, reduction="batchmean").item()
    plain = ContrastiveLoss(kind="info_nce")(batch).item()
    distilled = ContrastiveLoss(kind="info_nce", distillation_weight=0.3, distillation_temperature=0.1)(batch)
    near(distilled, plain + 0.3 * expected)

    # With own negatives only, the first query ranks its two documents, the second has one and nothing to rank.
    own = replace(batch, in_batch=False)
    two = [0, 2]
    expected = torch.nn.functional.kl_div(
        (batch.queries[0] @ batch.documents[two].T / 0.1).log_softmax(0),
        (teacher[0][0] @ teacher[1][two].T / 0.1).softmax(0),
        reduction="sum",
    ).item()
    plain = ContrastiveLoss(kind="info_nce")(own).item()
    distilled = ContrastiveLoss(kind="info_nce", distillation_weight=0.3, distillation_temperature=0.1)(own)
    near(distilled, plain + 0.3 * expected / 2)


def test_a_model_that_ranks_like_its_teacher_has_nothing_to_distil() -> None:
    batch = random_batch()
    same = replace(batch, teacher_queries=batch.queries.detach(), teacher_documents=batch.documents.detach())
    near(ContrastiveLoss(distillation_weight=1.0)(same), ContrastiveLoss()(batch).item())


def test_diagnostics_are_what_brute_force_counts() -> None:
    batch = random_batch(seed=3)
    with torch.no_grad():
        scores = normalize(batch.queries, dim=1) @ normalize(batch.documents, dim=1).T
    right = 0
    positives, negatives = [], []
    for query in range(5):
        ours = [scores[query, at].item() for at in range(len(OWNER)) if OWNER[at] == query and POSITIVE[at]]
        others = [scores[query, at].item() for at in range(len(OWNER)) if OWNER[at] != query or not POSITIVE[at]]
        right += max(ours) > max(others)
        positives += ours
        negatives += others
    assert 0 < right < 5
    for options in ALL_KINDS:
        seen = ContrastiveLoss(**options).measure(batch).diagnostics
        near(seen.accuracy, right / 5)
        near(seen.positive_cosine, sum(positives) / len(positives))
        near(seen.negative_cosine, sum(negatives) / len(negatives))
        assert not seen.accuracy.requires_grad
        assert not seen.negative_cosine.requires_grad
