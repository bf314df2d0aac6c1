"""Sections that both stages share. Every field stands in a recipe under its own name; the defaults are the paper's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False)


Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Part = Literal["lora", "full", "frozen"]


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class ModelSection:
    """The network at the start of a stage.

    Args:
        start: a LUSIFER model (embedded name, directory, hub id), or the folder of a run, whose best checkpoint is
            taken; its adapters are merged. Else encoder and decoder are joined by a connector that is not trained yet.
        revision: of `start` on the hub.
        encoder, decoder: base models, directory or hub id. encoder_revision, decoder_revision: on the hub.
        decoder_layers: keep this many of the language model's layers, from the first.
        settings: fields of `LusiferConfig`: connector, added_tokens, pooling, projection, encoder_skip, templates, ...
        centre: of stage 2, with an encoder skip and a projection that nothing has trained yet: this share of the
            training texts' mean embedding is taken off at the start, of queries that of queries and of documents that
            of documents. Vectors of a contrastively trained encoder point into one narrow cone, whose axis tells
            nothing.
        connector_gain: a new ff connector begins as an orthogonal map of the encoder's states, made this many times as
            long, in the place of random weights: the language model then reads what the encoder says from the first
            step on. The gain is to match the length of what the language model's first layer adds to its input.
        attention: kernel: "sdpa", "eager" or "flash_attention_2".
        dtype: of the frozen weights in memory; what is trained is float32.
        local_files_only: never ask the hub.
    """

    start: str | None = None
    revision: str | None = None
    encoder: str | None = None
    encoder_revision: str | None = None
    decoder: str | None = None
    decoder_revision: str | None = None
    decoder_layers: Count | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    centre: Share = 0.0
    connector_gain: Positive | None = None
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    dtype: Literal["float32", "bfloat16"] = "float32"
    local_files_only: bool = False

    @model_validator(mode="after")
    def _one_start(self) -> ModelSection:
        if (self.start is None) == (self.encoder is None):
            raise ValueError("give either start (a LUSIFER model or run) or encoder (and decoder), base models to join")
        if self.start is not None and (self.decoder or self.decoder_layers or self.settings or self.connector_gain):
            raise ValueError(
                "decoder, decoder_layers, settings and connector_gain go with encoder; a start has its own"
            )
        if self.centre and self.start is None and not self.settings.get("encoder_skip"):
            raise ValueError("centre needs settings.encoder_skip: it moves the encoder's own embeddings")
        return self


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class LoraSection:
    """LoRA matrices on all linear layers of the parts that are trained by "lora"."""

    rank: Count = 16
    alpha: Positive = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class TrainableSection:
    """Which parts are trained. The paper's ablations are settings of these.

    Args:
        encoder, language_model: "lora", "full" or "frozen".
        connector: with the added tokens. projection: with a trained pooling head.
    """

    encoder: Part = "lora"
    language_model: Part = "lora"
    connector: bool = True
    projection: bool = True
    lora: LoraSection = Field(default_factory=LoraSection)


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class SourceSection:
    """Where a data set comes from.

    Args:
        name: by which phases call it, unique.
        source: file, folder or pattern of files (JSON lines, CSV, Parquet, Arrow), or "owner/name" on the hub.
        split, subset, revision: of a hub data set.
        columns: {our name: name there}, where they differ; see `data.reading`.
        cap: at most this many rows, a random choice.
        streaming: fetch only those rows of a hub data set.
        on_error: "stop" at a row without text, or "skip" it.
        weight: share of the rows that an epoch takes; 2 takes each row twice.
    """

    name: str
    source: str
    split: str = "train"
    subset: str | None = None
    revision: str | None = None
    columns: dict[str, str] | None = None
    cap: Count | None = None
    streaming: bool = False
    on_error: Literal["stop", "skip"] = "stop"
    weight: Positive = 1.0


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class PhaseSection:
    """A part of the run over some of the data sets.

    Args:
        sets: names of data sets, all when None. epochs: how often they are gone through.
        tasks: of alignment: both kinds of examples, or reconstruction alone.
    """

    sets: list[str] | None = None
    epochs: Count = 1
    tasks: Literal["reconstruction", "all"] = "all"


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class OptimizationSection:
    """How the weights move.

    Args:
        batch_size: examples a step, of all processes together.
        chunk_tokens: most tokens, padding included, whose activations one process holds at once; memory, not the
            result, depends on it. In stage 2 a batch that has more goes through the network twice.
        learning_rate, weight_decay, betas, epsilon: of AdamW.
        schedule: after the warm-up: "cosine" or "linear" down to `least_learning_rate` (a share), or "constant".
        warmup: steps, or a share of all steps when below 1.
        max_steps: stop there, and let the schedule end there.
        gradient_norm: clip to this norm; 0 for no clipping.
        precision: of the computation: "float32", "bfloat16" with float32 weights (autocast), or "auto": bfloat16 where
            the device has instructions for it.
        gradient_checkpointing: keep one layer's activations at a time, for models that fill the memory.
        fsdp: shard the weights over all processes, which `accelerate launch` or torchrun starts.
    """

    batch_size: Count = 256
    chunk_tokens: Count = 16_384
    learning_rate: Positive = 5e-5
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    betas: tuple[Share, Share] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    least_learning_rate: Share = 0.0
    warmup: Annotated[float, Field(ge=0)] = 0.05
    max_steps: Count | None = None
    gradient_norm: Annotated[float, Field(ge=0)] = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    fsdp: bool = False


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class EvaluationSection:
    """Development sets that are searched during training.

    Args:
        sets: {name: file of query/positive pairs}; each is searched by its queries over all its positives.
        every: steps between evaluations; at the end there is always one.
        limit: at most so many queries a set, the first ones; all of its passages stay.
        best: the figure by which the best checkpoint is chosen: "mean" or one set's name, nDCG@10.
    """

    sets: dict[str, str] = Field(default_factory=dict)
    every: Count | None = None
    limit: Count | None = None
    best: str = "mean"

    @model_validator(mode="after")
    def _best_is_there(self) -> EvaluationSection:
        if self.best != "mean" and self.best not in self.sets:
            raise ValueError(f"best is {self.best!r}, allowed: mean, {', '.join(self.sets)}")
        if "mean" in self.sets:
            raise ValueError("no set may be named mean: that is the average of all")
        return self


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class RunSection:
    """Where the run writes, and how it is watched.

    Args:
        output: folder of the run. seed: of everything random.
        device: "auto" or "cpu".
        log_every, save_every: steps.
        keep: which checkpoints stay, "best_and_last" or "all".
        workers: processes that tokenise ahead; 0 for none.
    """

    output: str
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Literal["auto", "cpu"] = "auto"
    log_every: Count = 10
    save_every: Count = 500
    keep: Literal["best_and_last", "all"] = "best_and_last"
    workers: Annotated[int, Field(ge=0)] = 0
