"""The two stages' whole configurations: the shared sections and what only one stage knows."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from lusirag_training.config.sections import (
    CLOSED,
    Count,
    EvaluationSection,
    ModelSection,
    OptimizationSection,
    PhaseSection,
    Positive,
    RunSection,
    Share,
    SourceSection,
    TrainableSection,
)

RECONSTRUCT = "Please reconstruct the following text."
WRITE_QUESTION = "Please write a question based on this passage."


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class AlignmentSetSection(SourceSection):
    """A data set of stage 1: texts, labelled texts, or pairs of question and passage.

    Args:
        instruction: of text -> description and question -> passage examples.
    """

    instruction: str = ""


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class ContrastiveSetSection(SourceSection):
    """A data set of stage 2: queries, their positives and negatives.

    Args:
        instruction, document_instruction: what stands in the templates; the latter equals the former when None.
        negatives: "in_batch": the other examples' documents count too; "own": an example's own negatives alone, for
            classification and clustering data.
    """

    instruction: str = ""
    document_instruction: str | None = None
    negatives: Literal["in_batch", "own"] = "in_batch"


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class AlignmentDataSection:
    """Data of stage 1 and the mixture of its tasks; the shares are the published ones.

    Args:
        sets: the data sets. phases: in this order; all sets, reconstruction first, where none are given.
        max_tokens: of a source text, special tokens and instruction included. max_target_tokens: of a target.
        question_to_passage: share of question/passage rows whose target is the passage; of the others
            `reconstruction` reconstruct the passage, the rest write the question.
        labelled_reconstruction: share of labelled rows that reconstruct the text, the rest write the description.
    """

    sets: Annotated[list[AlignmentSetSection], Field(min_length=1)]
    phases: Annotated[list[PhaseSection], Field(min_length=1)] = Field(
        default_factory=lambda: [PhaseSection(tasks="reconstruction"), PhaseSection(tasks="all")]
    )
    max_tokens: Count = 512
    max_target_tokens: Count = 512
    question_to_passage: Share = 0.3
    reconstruction: Share = 0.4
    labelled_reconstruction: Share = 0.1

    @model_validator(mode="after")
    def _names_fit(self) -> AlignmentDataSection:
        check_names(self.sets, self.phases)
        return self


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class ContrastiveDataSection:
    """Data of stage 2.

    Args:
        sets: the data sets. phases: in this order; all sets at once where none are given.
        max_tokens: of a text, special tokens and instruction included.
        positives, hard_negatives: at most so many of an example's, chosen at random each time.
        leftovers: what happens to rows that do not fill a batch of one cluster: "drop" or "join" those of one data set.
    """

    sets: Annotated[list[ContrastiveSetSection], Field(min_length=1)]
    phases: Annotated[list[PhaseSection], Field(min_length=1)] = Field(default_factory=lambda: [PhaseSection()])
    max_tokens: Count = 512
    positives: Count = 1
    hard_negatives: Annotated[int, Field(ge=0)] = 7
    leftovers: Literal["drop", "join"] = "join"

    @model_validator(mode="after")
    def _names_fit(self) -> ContrastiveDataSection:
        check_names(self.sets, self.phases)
        return self


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class AlignmentSection:
    """The loss of stage 1.

    Args:
        attention: "prefix": the text is seen both ways, the target word by word, so that no word sees itself;
            "bidirectional": the published form, where masks alone keep a word from seeing itself.
        mask_probability: each target word is replaced by the mask token, and, by a second draw, hidden.
        word_gain: a new ff connector begins as the linear map of the encoder's states that comes nearest to the
            language model's word embeddings (ridge regression on passages of the data sets), made this many times as
            long, in the place of random weights: the language model then reads something from the first step on.
    """

    attention: Literal["prefix", "bidirectional"] = "prefix"
    mask_probability: Share = 0.5
    word_gain: Positive | None = None


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class DistillationSection:
    """A teacher whose similarities are imitated beside the loss.

    Args:
        teacher: what `Embedder.load` takes, or several of these, of whose cosines the mean is imitated.
        shares: of each of several teachers in that mean; equal when None.
        temperature: of both softmaxes. weight: beside the loss's 1.
    """

    teacher: str | Annotated[list[str], Field(min_length=1)]
    shares: list[Positive] | None = None
    temperature: Positive = 0.05
    weight: Annotated[float, Field(ge=0)] = 1.0

    @property
    def teachers(self) -> list[str]:
        """The teacher, or all of them."""
        return [self.teacher] if isinstance(self.teacher, str) else self.teacher

    @model_validator(mode="after")
    def _shares_fit(self) -> DistillationSection:
        if self.shares is not None and len(self.shares) != len(self.teachers):
            raise ValueError(f"shares has {len(self.shares)} numbers for {len(self.teachers)} teachers; give one each")
        return self


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class FalseNegativesSection:
    """Negatives that are too near to be wrong; see `losses.FalseNegatives`.

    Args:
        rule: a negative goes when its cosine is above `value` times the positive's ("percentage"), above that cosine
            less `value` ("margin"; may be negative), or above `value` itself ("absolute").
        own: judge the example's own hard negatives too. judge: by whose cosines, "model" or "teacher".
    """

    rule: Literal["percentage", "margin", "absolute"] = "percentage"
    value: float = 0.95
    own: bool = False
    judge: Literal["model", "teacher"] = "model"


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class LossSection:
    """The loss of stage 2; see `losses`.

    Args:
        name: "nt_xent" (published), "sup_con", or "info_nce" (query to documents alone).
        similarity: "l2" (published) or "cosine". temperature: divides it.
        miner_epsilon: of the multi-similarity miner; None for no miner. Published: 0.25.
        symmetric: of info_nce: documents look for their query too.
        false_negatives: in-batch documents that may be right are left out; None for no such guard. Equal texts are
            never negatives.
        matryoshka_dimensions: shorter vectors, first values of the whole, that are trained too. matryoshka_weights: of
            each, the whole has 1.
    """

    name: Literal["nt_xent", "sup_con", "info_nce"] = "nt_xent"
    similarity: Literal["cosine", "l2"] = "l2"
    temperature: Positive = 0.05
    miner_epsilon: Annotated[float, Field(ge=0)] | None = 0.25
    symmetric: bool = False
    false_negatives: FalseNegativesSection | None = None
    matryoshka_dimensions: list[Count] = Field(default_factory=list)
    matryoshka_weights: list[Positive] | None = None
    distillation: DistillationSection | None = None

    @model_validator(mode="after")
    def _fits(self) -> LossSection:
        if self.symmetric and self.name != "info_nce":
            raise ValueError(f"symmetric goes with info_nce; {self.name} has the documents as anchors already")
        guard = self.false_negatives
        if guard is not None and guard.rule == "percentage" and not 0 < guard.value <= 1:
            raise ValueError(f"false_negatives.value is {guard.value}, a percentage is above 0 and up to 1")
        if guard is not None and guard.judge == "teacher" and self.distillation is None:
            raise ValueError("false_negatives.judge is teacher, but distillation names none")
        if self.matryoshka_weights is not None and len(self.matryoshka_weights) != len(self.matryoshka_dimensions):
            raise ValueError("matryoshka_weights must name one weight for each of matryoshka_dimensions")
        return self


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class AlignmentConfig:
    """Everything of a stage 1 run: the language model is frozen, and there is nothing behind it that could learn."""

    stage: Literal["alignment"]
    model: ModelSection
    data: AlignmentDataSection
    run: RunSection
    trainable: TrainableSection = Field(default_factory=TrainableSection)
    alignment: AlignmentSection = Field(default_factory=AlignmentSection)
    optimization: OptimizationSection = Field(default_factory=OptimizationSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)

    @model_validator(mode="before")
    @classmethod
    def _own_defaults(cls, values: Any) -> Any:
        return with_defaults(
            values,
            trainable={"language_model": "frozen", "projection": False},
            optimization={"learning_rate": 1.5e-4},
        )

    @model_validator(mode="after")
    def _leaves_the_projection(self) -> AlignmentConfig:
        if self.model.centre:
            raise ValueError("model.centre is of stage 2, whose projection does it; give it in that recipe")
        if self.alignment.word_gain and (self.model.start is not None or self.model.connector_gain):
            raise ValueError(
                "alignment.word_gain makes a new connector; leave it out where model.start brings one or "
                "model.connector_gain makes one"
            )
        check_starts(self.model, self.trainable)
        check_intervals(self.run, self.evaluation)
        return self


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class ContrastiveConfig:
    """Everything of a stage 2 run."""

    stage: Literal["contrastive"]
    model: ModelSection
    data: ContrastiveDataSection
    run: RunSection
    trainable: TrainableSection = Field(default_factory=TrainableSection)
    loss: LossSection = Field(default_factory=LossSection)
    optimization: OptimizationSection = Field(default_factory=OptimizationSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)

    @model_validator(mode="after")
    def _keeps_its_start(self) -> ContrastiveConfig:
        check_starts(self.model, self.trainable)
        check_intervals(self.run, self.evaluation)
        return self


StageConfig = AlignmentConfig | ContrastiveConfig


def check_starts(model: ModelSection, trainable: TrainableSection) -> None:
    """Refuse a start that a checkpoint would not hold, since it changes a part that is not trained.

    Raises:
        ValueError: says which.
    """
    if model.centre and not trainable.projection:
        raise ValueError("model.centre changes the projection, and trainable.projection is false; leave one out")
    if model.connector_gain and not trainable.connector:
        raise ValueError("model.connector_gain changes the connector, and trainable.connector is false; leave one out")


def check_intervals(run: RunSection, evaluation: EvaluationSection) -> None:
    """Refuse checkpoints that would lie between two logs or two evaluations.

    Raises:
        ValueError: says which.
    """
    every = evaluation.every or run.save_every
    if run.save_every % run.log_every or (evaluation.sets and run.save_every % every):
        raise ValueError(
            f"run.save_every is {run.save_every}; it must be a multiple of run.log_every ({run.log_every}) and of "
            f"evaluation.every ({every}), so that a checkpoint has its figures and a run that goes on has its losses"
        )


def check_names(sets: list[Any], phases: list[PhaseSection]) -> None:
    """Refuse data sets of equal name, and phases that name none.

    Raises:
        ValueError: says which.
    """
    names = [each.name for each in sets]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"several sets are named {', '.join(twice)}; give each its own name")
    for phase in phases:
        if unknown := sorted(set(phase.sets or ()) - set(names)):
            raise ValueError(f"a phase names {', '.join(unknown)}; the sets are {', '.join(names)}")


def with_defaults(values: Any, **sections: dict[str, Any]) -> Any:
    """Fill what is not given in sections whose defaults differ from those of the section's class."""
    given = getattr(values, "kwargs", values)
    if not isinstance(given, dict):
        return values
    merged = dict(given)
    for name, defaults in sections.items():
        if isinstance(merged.get(name, {}), dict):
            merged[name] = defaults | merged.get(name, {})
    return merged
