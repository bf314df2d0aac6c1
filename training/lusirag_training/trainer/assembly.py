"""A recipe becomes what a run is made of: data, plan, network, objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from torch import nn
from torch.utils.data import Dataset

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.model import LusiferForAlignment, LusiferModel
from lusirag.model.files import TOKENIZER
from lusirag.model.source import resolve_directory
from lusirag_training.config import AlignmentConfig, ContrastiveConfig, StageConfig
from lusirag_training.config.sections import SourceSection
from lusirag_training.data.alignment import AlignmentRows, Mixture, TargetTokens
from lusirag_training.data.batches import Phase, RowSet, RunPlan, plan_run
from lusirag_training.data.contrastive import ContrastiveRows
from lusirag_training.data.reading import read_set
from lusirag_training.data.steps import Share, Steps
from lusirag_training.data.texts import Ids, ModelTexts
from lusirag_training.losses import ContrastiveLoss, FalseNegatives
from lusirag_training.trainer.objectives import AlignmentObjective, ContrastiveObjective, Objective
from lusirag_training.trainer.start import centre, choose_trainable, load_start
from lusirag_training.trainer.teachers import Teachers
from lusirag_training.trainer.words import PASSAGES, start_with_words

SAMPLE = 512  # pairs whose mean embedding is the centre


@dataclass(frozen=True, slots=True)
class Stage:
    """What a run is made of.

    Attributes:
        module: what is trained, as the Trainer calls it. network: the embedding model in it.
        texts: how it reads texts. words: the language model's tokenizer, where it writes.
        steps: this process's batches. objective: what a step computes.
        rows: of each data set.
    """

    module: nn.Module
    network: LusiferModel
    texts: ModelTexts
    steps: Dataset[Any]
    objective: Objective[Any]
    rows: dict[str, int]
    words: Tokenizer | None = None


def assemble(config: StageConfig, *, share: Share = Share()) -> Stage:  # noqa: B008, immutable
    """Read the data, load the network, plan the steps.

    Args:
        share: of this process.

    Raises:
        CorpusError: a data set cannot be read. ModelError: the network cannot be had.
        InvalidArgumentError: the parts of the recipe do not fit together.
    """
    if config.optimization.batch_size % share.world:
        raise InvalidArgumentError(
            f"optimization.batch_size is {config.optimization.batch_size}, which {share.world} processes cannot share; "
            "give a multiple"
        )
    if isinstance(config, AlignmentConfig):
        return _assemble_alignment(config, share)
    return _assemble_contrastive(config, share)


def _assemble_contrastive(config: ContrastiveConfig, share: Share) -> Stage:
    sections, options = config.data.sets, config.optimization
    sets = [_read(section, config.run.seed, "query") for section in sections]
    start = load_start(config.model, seed=config.run.seed)
    texts = start.texts(max_tokens=config.data.max_tokens)
    if config.model.centre:
        centre(start.network, sample_ids(texts, sets, seed=config.run.seed), share=config.model.centre)
    choose_trainable(start.network, config.trainable)
    for section in sections:
        for role, words in (("query", section.instruction), ("document", section.document_instruction)):
            texts.templates[role].surroundings(words or None)  # refuses an instruction that has no place
    teacher = config.loss.distillation
    rows = ContrastiveRows(
        texts,
        positives=config.data.positives,
        hard_negatives=config.data.hard_negatives,
        keep_texts=teacher is not None,
    )

    def make(chosen: Any, generators: Any, number: int, phase: int) -> Any:
        section = sections[number]
        document = section.document_instruction
        return rows(
            chosen,
            generators,
            instruction=section.instruction,
            document_instruction=section.instruction if document is None else document,
            in_batch=section.negatives == "in_batch",
        )

    plan = _plan(config, sets, leftovers=config.data.leftovers, processes=share.world)
    dtype = "bfloat16" if options.precision == "bfloat16" else None  # a teacher need not be finer than its pupil
    objective = ContrastiveObjective(
        loss_of(config),
        chunk_tokens=options.chunk_tokens,
        padding_id=start.network.config.padding_id,
        teachers=None if teacher is None else Teachers.load(teacher.teachers, teacher.shares, dtype=dtype),
        equal_chunks=options.fsdp,
    )
    steps = Steps(plan, sets, make, seed=config.run.seed, share=share)
    counts = {section.name: len(each) for section, each in zip(sections, sets, strict=True)}
    return Stage(start.network, start.network, texts, steps, objective, counts)


def _assemble_alignment(config: AlignmentConfig, share: Share) -> Stage:
    sections, options = config.data.sets, config.optimization
    sets = [_read(section, config.run.seed, None) for section in sections]
    start = load_start(config.model, seed=config.run.seed)
    network = start.network
    if network.config.connector == "none":
        raise InvalidArgumentError("alignment teaches a connector to feed a language model; this model has neither")
    module = LusiferForAlignment.from_base_models(
        network, attention=config.alignment.attention, local_files_only=config.model.local_files_only
    )
    module.requires_grad_(False)
    texts = start.texts(max_tokens=config.data.max_tokens)
    query = texts.templates["query"]
    if not query.takes_instruction and any(phase.tasks == "all" for phase in config.data.phases):
        raise InvalidArgumentError(
            f"the model's query template {query.pattern!r} has no place for the instruction that tells the tasks of "
            "alignment apart; give data.phases: [{tasks: reconstruction}]"
        )
    targets = target_tokens(network, most=config.data.max_target_tokens, local_files_only=config.model.local_files_only)
    if config.alignment.word_gain is not None:
        start_with_words(
            network,
            module.token_embedding,
            texts=texts,
            writer=targets.tokenizer,
            passages=sample_passages(sets, most=PASSAGES, seed=config.run.seed),
            gain=config.alignment.word_gain,
        )
    choose_trainable(network, config.trainable)
    shares = ("question_to_passage", "reconstruction", "labelled_reconstruction")
    rows = AlignmentRows(
        texts,
        targets,
        Mixture(**{name: getattr(config.data, name) for name in shares}),
        mask_probability=config.alignment.mask_probability,
    )

    def make(chosen: Any, generators: Any, number: int, phase: int) -> Any:
        return rows(
            chosen,
            generators,
            instruction=sections[number].instruction,
            reconstruct_only=config.data.phases[phase].tasks == "reconstruction",
        )

    plan = _plan(config, sets, leftovers="join", processes=share.world, clustered=False)
    objective = AlignmentObjective(
        chunk_tokens=options.chunk_tokens,
        padding_id=network.config.padding_id,
        target_padding_id=targets.padding,
        given_words=0 if targets.begin is None else 1,
        equal_chunks=options.fsdp,
    )
    steps = Steps(plan, sets, make, seed=config.run.seed, share=share)
    counts = {section.name: len(each) for section, each in zip(sections, sets, strict=True)}
    return Stage(module, network, texts, steps, objective, counts, targets.tokenizer)


def sample_ids(texts: ModelTexts, sets: Sequence[Any], *, seed: int) -> dict[str, Ids]:
    """Token ids of some queries and positives by role, as many of each data set."""
    generator = np.random.default_rng(seed)
    ids: dict[str, Ids] = {"query": [], "document": []}
    for table in sets:
        rows = [table[int(number)] for number in generator.permutation(len(table))[: -(-SAMPLE // len(sets))]]
        ids["query"] += texts.ids("query", [row["query"] for row in rows])
        ids["document"] += texts.ids("document", [row["positive"][0] for row in rows])
    return ids


def sample_passages(sets: Sequence[Any], *, most: int, seed: int) -> list[str]:
    """Some texts and positives, as many of each data set."""
    generator = np.random.default_rng(seed)
    passages = []
    for table in sets:
        numbers = generator.permutation(len(table))[: -(-most // len(sets))]
        rows = [table[int(number)] for number in numbers]
        passages += [row["text"] if "query" not in row else row["positive"][0] for row in rows]
    return passages


def loss_of(config: ContrastiveConfig) -> ContrastiveLoss:
    """The loss that a recipe asks for."""
    section = config.loss
    guard = section.false_negatives
    teacher = section.distillation
    lengths = section.matryoshka_dimensions
    return ContrastiveLoss(
        kind=section.name,
        similarity=section.similarity,
        temperature=section.temperature,
        miner_epsilon=section.miner_epsilon,
        symmetric=section.symmetric,
        false_negatives=None if guard is None else FalseNegatives(rule=guard.rule, value=guard.value, own=guard.own),
        judge="model" if guard is None else guard.judge,
        matryoshka=lengths,
        matryoshka_weights=section.matryoshka_weights or (),
        distillation_weight=0.0 if teacher is None else teacher.weight,
        distillation_temperature=None if teacher is None else teacher.temperature,
    )


def target_tokens(network: LusiferModel, *, most: int, local_files_only: bool) -> TargetTokens:
    """The tokenizer of the language model that a network was made from.

    Raises:
        ModelError: it has no tokenizer.json, or no token that could stand for a masked word.
    """
    base = (network.config.base_models or {}).get("decoder") or {}
    directory = resolve_directory(
        str(base.get("source")), revision=base.get("revision"), local_files_only=local_files_only
    )
    if not (directory / TOKENIZER).is_file():
        raise ModelError(f"{directory} lacks {TOKENIZER}, whose words alignment needs; save its fast tokenizer there")
    tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    decoder: Any = network.config.decoder_config
    end = decoder.eos_token_id[0] if isinstance(decoder.eos_token_id, list) else decoder.eos_token_id
    unknown = getattr(tokenizer.model, "unk_token", None)
    named = [tokenizer.token_to_id(name) for name in ("<mask>", "[MASK]", unknown, "<unk>") if name]
    stand_in = next((number for number in [*named, decoder.pad_token_id, end] if number is not None), None)
    if stand_in is None:
        raise ModelError(
            f"the language model in {directory} has no mask, unknown, padding or end token to mask words by"
        )
    padding = next(number for number in (decoder.pad_token_id, end, stand_in) if number is not None)
    return TargetTokens(tokenizer, decoder.bos_token_id, end, stand_in, padding, most)


def _read(section: SourceSection, seed: int, needed: str | None) -> Any:
    rows = read_set(
        section.source,
        split=section.split,
        subset=section.subset,
        revision=section.revision,
        columns=section.columns,
        cap=section.cap,
        seed=seed,
        streaming=section.streaming,
        on_error=section.on_error,
    )
    if needed is not None and needed not in rows.column_names:
        raise InvalidArgumentError(
            f"data set {section.name} has {', '.join(rows.column_names)}; stage 2 needs query and positive"
        )
    return rows


def _plan(config: StageConfig, sets: list[Any], *, leftovers: str, processes: int, clustered: bool = True) -> RunPlan:
    names = [section.name for section in config.data.sets]
    rows = [
        RowSet(len(table), _clusters(table) if clustered else None, section.weight)
        for table, section in zip(sets, config.data.sets, strict=True)
    ]
    phases = [
        Phase(tuple(names.index(name) for name in phase.sets or names), phase.epochs) for phase in config.data.phases
    ]
    return plan_run(
        rows,
        phases,
        batch_size=config.optimization.batch_size,
        seed=config.run.seed,
        leftovers=leftovers,
        processes=processes,
    )


def _clusters(table: Any) -> Any:
    """(rows,) clusters, None where no row has one."""
    numbers = np.asarray(table.with_format("numpy")["cluster"][:])
    return None if (numbers < 0).all() else numbers.astype(np.int64)
