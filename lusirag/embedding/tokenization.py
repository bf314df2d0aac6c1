"""Texts to token ids, cut to the model's length; what was cut is counted."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from lusirag.embedding.unigram import PATIENCE, SHORT, ShortTexts
from lusirag.errors import InvalidArgumentError, ModelError


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Token ids of some texts, in their order.

    Attributes:
        ids: one list a text, special tokens included.
        truncated: how many texts were cut.
    """

    ids: list[list[int]]
    truncated: int


class TextTokenizer:
    """A tokenizer.json with the model's special tokens and length.

    What a user's text holds is always text: "</s>" in a document is read as "< /s>", never as the special token.

    Args:
        file: tokenizer.json of a model directory.
        max_tokens: longest result, special tokens included.
        as_published: read special tokens in a text as such and cut the last one off a long text, as the published code
            does; for comparisons with it.

    Raises:
        ModelError: the file is missing or broken.
    """

    def __init__(self, file: Path, *, max_tokens: int, as_published: bool = False) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._whole: Tokenizer | None = None
        with self._reading():
            self._content = file.read_bytes()
            self._short = None if as_published else ShortTexts.read(self._content)
        frame = self.tokenizer if self._short is None else self._short.frame
        special = [token.content for token in frame.get_added_tokens_decoder().values() if token.special]
        # NOTE: the library's encode_special_tokens does not help, a Unigram vocabulary holds "</s>" as a piece too.
        self._special_in_text = re.compile("|".join(map(re.escape, special)) or r"(?!)")
        self._as_published = as_published
        self.max_tokens = max_tokens
        self._first, self._last = _special_tokens(frame)

    @property
    def tokenizer(self) -> Tokenizer:
        """The whole tokenizer; it neither cuts nor pads. Of a large vocabulary it is made when it is first needed."""
        with self._lock:
            if self._whole is None:
                with self._reading():
                    self._whole = Tokenizer.from_str(self._content.decode())
                self._whole.no_truncation()
                self._whole.no_padding()
                self._short, self._content = None, b""  # of no more use
            return self._whole

    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenise; the special tokens stay when a text is cut."""
        if self._as_published:
            return self._tokenize_as_published(texts)
        room = self.max_tokens - len(self._first) - len(self._last)
        plain = [self._special_in_text.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) for text in texts]
        short = self._short
        if short is not None and short.characters < PATIENCE and sum(map(len, plain)) <= SHORT:
            bare = short(plain)
        else:
            bare = [found.ids for found in self.tokenizer.encode_batch_fast(plain, add_special_tokens=False)]
        ids = [[*self._first, *tokens[:room], *self._last] for tokens in bare]
        return TokenizedTexts(ids, sum(len(tokens) > room for tokens in bare))

    def _tokenize_as_published(self, texts: Sequence[str]) -> TokenizedTexts:
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids = [[*self._first, *encoding.ids, *self._last] for encoding in encodings]
        return TokenizedTexts([row[: self.max_tokens] for row in ids], sum(len(row) > self.max_tokens for row in ids))

    def room_for_text(self, before: str, after: str) -> int:
        """How many tokens of a text fit between `before` and `after`; a few are kept for pieces joined at seams."""
        framed, bare = (
            len(self.tokenizer.encode(text, add_special_tokens=False)) for text in (f"{before}a{after}", "a")
        )
        seam = 4
        return self.max_tokens - len(self._first) - len(self._last) - (framed - bare) - seam

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the library raises bare Exception on broken JSON
            raise ModelError(
                f"{self._file} cannot be read as a tokenizer ({error}); copy or download it again"
            ) from error


def _special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that a tokenizer writes before and after a text by itself."""
    encoding = tokenizer.encode("a")
    own = encoding.special_tokens_mask.index(0)
    after = next(at for at in range(own, len(encoding) + 1) if all(encoding.special_tokens_mask[at:]))
    return encoding.ids[:own], encoding.ids[after:]


def require_texts(texts: Sequence[str], *, name: str = "texts") -> list[str]:
    """Return the texts as a list, white space alone turned into the empty text.

    Raises:
        InvalidArgumentError: not a sequence of str, or one that UTF-8 cannot write (a lone surrogate); says which.
    """
    if isinstance(texts, str | bytes):
        raise InvalidArgumentError(f"{name} is one {type(texts).__name__}; give a list of str, such as [{name}]")
    checked = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidArgumentError(f"{name}[{number}] is {type(text).__name__}; every text must be str")
        if not text.isascii() and not _is_unicode(text):
            raise InvalidArgumentError(f"{name}[{number}] holds a lone surrogate, which is no character; remove it")
        checked.append(text if text.strip() else "")
    return checked


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
