"""The tokenizers of the two built-in base models, built from scratch: nothing is downloaded.

Both are byte-level BPE in the form that transformers expects of a Qwen2 model; another kind is silently replaced when
`AutoTokenizer` reads the directory. Digits are single tokens. A space is written Ġ and a newline Ċ, as in GPT-2.
"""

import json

from numpy.random import Generator
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from creditree.rng import Key
from recipes.tiny_base import word_problems_corpus

END = "<|end|>"
PAD = "<|pad|>"
MAX_LENGTH = 512
MOST_TOKENS = 1024
NUM_STORIES = 20_000


def characters() -> Qwen2Tokenizer:
    """Return a tokenizer of 98 tokens: pad, end, newline and the 95 printable ASCII characters; others are dropped."""
    return _tokenizer(["Ċ", "Ġ", *(chr(code) for code in range(33, 127))], [])


def words() -> Qwen2Tokenizer:
    """Return a tokenizer in which each word of the stories is one token, and any other text is spelt in bytes."""
    rng = Key.of(0).at("vocabulary").generator()
    bpe = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=MOST_TOKENS - 2, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(_stories(rng), trainer)
    learned = json.loads(bpe.to_str())["model"]
    vocabulary = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    return _tokenizer(vocabulary, [tuple(merge) for merge in learned["merges"]])


def _stories(rng: Generator) -> list[str]:
    return [word_problems_corpus.example(rng)[0].strip() for _ in range(NUM_STORIES)]


def _tokenizer(tokens: list[str], merges: list[tuple[str, str]]) -> Qwen2Tokenizer:
    return Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate([PAD, END, *tokens])},
        merges=merges,  # type: ignore[arg-type]  # pairs are accepted, the annotation is narrower
        unk_token=None,  # type: ignore[arg-type]  # the default would add a token
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
