"""The network that a run starts from, and which of its parts learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lusirag.embedding.catalog import EMBEDDED_MODELS
from lusirag.embedding.templates import Template
from lusirag.embedding.tokenization import TextTokenizer
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.model import LusiferModel
from lusirag.model.adapters import name_in_files
from lusirag.model.configuration import ROLES
from lusirag.model.files import TOKENIZER
from lusirag.model.network import FeedForwardConnector
from lusirag.model.source import read_config, resolve_directory, tokenizer_file
from lusirag_training.config.sections import ModelSection, TrainableSection
from lusirag_training.data.texts import Ids, ModelTexts, chunked, padded

CENTRE_TOKENS = 2048
RANDOM_TOKENS = (8, 64)  # texts, tokens of each
MARGIN = 1.5
RIDGE = 0.1  # of the inputs' mean variance
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PARTS = {"encoder": "multilingual_encoder", "language_model": "language_model"}


@dataclass(frozen=True, slots=True)
class Start:
    """A network with what reads its texts.

    Attributes:
        network: adapters merged, in training mode nowhere yet. tokenizer: its tokenizer.json.
    """

    network: LusiferModel
    tokenizer: Path

    def texts(self, *, max_tokens: int | None = None) -> ModelTexts:
        """Its templates and tokenizer, for texts of at most `max_tokens` (its own limit when that is less or None)."""
        config = self.network.config
        longest = config.max_tokens if max_tokens is None else min(max_tokens, config.max_tokens)
        return ModelTexts(
            TextTokenizer(self.tokenizer, max_tokens=longest),
            {role: Template(role, *config.text_format(role)) for role in ROLES},
        )


def load_start(section: ModelSection, *, seed: int) -> Start:
    """Load or join the network of a run.

    Args:
        seed: of the weights that are not there yet, connector and projection.

    Raises:
        ModelError: something is missing or does not fit.
    """
    torch.manual_seed(seed)
    if section.start is not None:
        from lusirag_training.trainer.runs import is_run, load_run

        if is_run(Path(section.start)):
            return load_run(Path(section.start), dtype=DTYPES[section.dtype], attention=section.attention)
        return _load_model(section)
    network = LusiferModel.from_base_models(
        str(section.encoder),
        section.decoder,
        decoder_layers=section.decoder_layers,
        encoder_revision=section.encoder_revision,
        decoder_revision=section.decoder_revision,
        local_files_only=section.local_files_only,
        dtype=DTYPES[section.dtype],
        attn_implementation=section.attention,
        **section.settings,
    )
    start_as_identity(network)
    if section.connector_gain is not None:
        start_as_orthogonal(network, gain=section.connector_gain)
    base = resolve_directory(
        str(section.encoder),
        revision=section.encoder_revision,
        local_files_only=section.local_files_only,
        files=[TOKENIZER],
    )
    if not (base / TOKENIZER).is_file():
        raise ModelError(f"{section.encoder} lacks {TOKENIZER}; save its fast tokenizer beside it")
    return Start(network, base / TOKENIZER)


def _load_model(section: ModelSection) -> Start:
    directory = resolve_directory(
        EMBEDDED_MODELS.get(str(section.start), str(section.start)),
        revision=section.revision,
        local_files_only=section.local_files_only,
    )
    network = LusiferModel.from_pretrained(
        directory,
        dtype=DTYPES[section.dtype],
        attn_implementation=section.attention,
        merge_adapters=True,
        local_files_only=section.local_files_only,
    )
    config = read_config(directory, local_files_only=section.local_files_only)
    return Start(network, tokenizer_file(directory, config, local_files_only=section.local_files_only))


def start_as_identity(network: LusiferModel) -> None:
    """With an encoder skip, let the projection begin at zero: the network begins as its encoder is."""
    if not network.config.encoder_skip or network.config.connector == "none":
        return
    last = [module for module in network.projection.modules() if isinstance(module, nn.Linear)][-1:]
    with torch.no_grad():
        for module in last:
            module.weight.zero_()
            module.bias.zero_()


@torch.no_grad()
def start_as_orthogonal(network: LusiferModel, *, gain: float) -> None:
    """Let the connector begin as an orthogonal map of the encoder's states, `gain` times as long; see `start_as_map`.

    Raises:
        InvalidArgumentError: the connector is of another kind, or the language model is narrower than the encoder.
    """
    connector = getattr(network, "connector", None)
    if not isinstance(connector, FeedForwardConnector):
        raise InvalidArgumentError(
            f"model.connector_gain goes with connector ff, not {network.config.connector}; leave it out"
        )
    _, second = linear_layers(connector)
    if second.out_features < second.in_features:
        raise InvalidArgumentError(
            f"model.connector_gain needs a language model at least as wide as the encoder, not {second.out_features} "
            f"to {second.in_features}; leave it out"
        )
    ids = torch.randint(network.config.encoder_config.vocab_size, RANDOM_TOKENS)
    states = network.encode(ids, torch.ones_like(ids))  # (B, S, E)
    slope = nn.init.orthogonal_(torch.empty(second.weight.shape), gain=gain)  # (D, E)
    start_as_map(connector, slope, torch.zeros(len(slope)), largest=states.float().abs().amax(dim=(0, 1)))


def linear_layers(connector: FeedForwardConnector) -> tuple[nn.Linear, nn.Linear]:
    """Its first, E to E, and its second, E to D."""
    first, second = (part for part in connector.feed_forward if isinstance(part, nn.Linear))
    return first, second


@torch.no_grad()
def start_as_map(connector: FeedForwardConnector, slope: Tensor, offset: Tensor, *, largest: Tensor) -> None:
    """Let a connector be a linear map, slope (D, E) times the states and offset (D,).

    Its first layer passes the states on, raised so that the ReLU behind it cuts off next to nothing: each channel by
    more than its largest absolute value (E,) on some texts. Its second is the map, and takes what was added off again.
    """
    first, second = linear_layers(connector)
    nn.init.eye_(first.weight)
    first.bias.copy_(MARGIN * largest)
    second.weight.copy_(slope)
    second.bias.copy_(offset - second.weight.to(slope.dtype) @ first.bias.to(slope.dtype))


@torch.no_grad()
def centre(network: LusiferModel, rows: Mapping[str, Ids], *, share: float) -> None:
    """Take a share of the mean embedding of queries off queries, and of documents off documents.

    A text is similar to every other by what all have in common, and queries lie apart from documents by what their
    template adds; neither says what a text is about. The last layer of the projection, still zero, gets a bias, and
    one direction by which ridge regression tells the roles apart in what that layer reads.

    Args:
        rows: token ids of texts, by role. share: of their mean pooled encoder output, from 0 to 1.

    Raises:
        InvalidArgumentError: the network has no encoder skip, or its projection was trained before.
    """
    *_, last = [None, *(module for module in network.projection.modules() if isinstance(module, nn.Linear))]
    if last is None or not network.config.encoder_skip or bool(last.weight.any()) or bool(last.bias.any()):
        raise InvalidArgumentError(
            "model.centre needs a network with an encoder skip whose projection is not trained yet; leave it out"
        )
    read: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].float()))
    means = []
    try:
        for role in ROLES:
            found = []
            for chunk in chunked([len(row) for row in rows[role]], chunk_tokens=CENTRE_TOKENS):
                ids, mask = padded([rows[role][row] for row in chunk], padding_id=network.config.padding_id)
                found.append(network(ids, mask).embeddings.float())
            means.append(torch.cat(found).mean(0))  # (O,)
    finally:
        hook.remove()
    inputs = torch.cat(read)  # (N, D)
    sides = torch.cat([torch.full((len(rows[role]),), sign) for role, sign in zip(ROLES, (1.0, -1.0), strict=True)])
    middle = inputs.mean(0)
    spread, sides = inputs - middle, sides - sides.mean()
    gram = spread.T @ spread / len(spread)  # (D, D)
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    direction = torch.linalg.solve(gram + ridge, spread.T @ sides / len(spread))  # (D,)
    common, apart = (means[0] + means[1]) / 2, (means[0] - means[1]) / 2  # (O,)
    weight = -share * torch.outer(apart, direction)  # (O, D)
    last.weight.add_(weight.to(last.weight.dtype))
    last.bias.sub_((share * common + weight @ middle).to(last.bias.dtype))


def choose_trainable(network: LusiferModel, section: TrainableSection) -> None:
    """Freeze everything but what a run trains, and put that into float32.

    Raises:
        InvalidArgumentError: nothing would be trained, or a part does not exist.
    """
    network.requires_grad_(False)
    has_decoder = network.config.connector != "none"
    if not has_decoder and section.language_model == "full":
        raise InvalidArgumentError("trainable.language_model is 'full', but this model has no language model")
    parts = {"encoder": section.encoder} | ({"language_model": section.language_model} if has_decoder else {})
    adapted = tuple(PARTS[name] for name, choice in parts.items() if choice == "lora")
    if adapted:
        lora = section.lora
        network.add_adapters(rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, parts=adapted)
    for name, choice in parts.items():
        if choice == "full":
            getattr(network, PARTS[name]).requires_grad_(True)
    if section.connector and has_decoder:
        network.connector.requires_grad_(True)
    if section.projection:
        network.projection.requires_grad_(True)
        network.pooler.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InvalidArgumentError("nothing is trained: every part of trainable is frozen; choose one")
    for name, choice in parts.items():
        if choice != "full":
            without_dropout(getattr(network, PARTS[name]))
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def without_dropout(part: nn.Module) -> None:
    """Turn off the dropout that a base model was pre-trained with; that of LoRA stays.

    As in the published code, whose backbones stay in evaluation mode; but gradient checkpointing needs training mode.
    """
    for name, module in part.named_modules():
        if ".lora_dropout" in name:
            continue
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for option in ("dropout", "attention_dropout", "dropout_rate"):
            if isinstance(getattr(module, option, None), float):
                setattr(module, option, 0.0)


def trained_weights(network: nn.Module) -> dict[str, Tensor]:
    """What a run trains, under its names in files."""
    return {
        name_in_files(name): parameter.detach()
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }


def restore_trained(network: nn.Module, weights: dict[str, Tensor], *, source: Path) -> None:
    """Put trained weights back, all of them and nothing else.

    Raises:
        ModelError: they are of another recipe.
    """
    own = {name_in_files(name): parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    if own.keys() != weights.keys():
        different = sorted(own.keys() ^ weights.keys())
        raise ModelError(
            f"{source} holds the weights of another recipe: {len(different)} names differ, such as {different[0]}"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != weights[name].shape:
                raise ModelError(
                    f"{source}: {name} has the shape {tuple(weights[name].shape)}, not {tuple(parameter.shape)}"
                )
            parameter.copy_(weights[name])
