"""A tokenizer and an embedding that belong together: every token has a row."""

from typing import Any

from creditree.errors import ModelError
from creditree.text import shown

_NAMED = 3


def check_vocabulary(name: str, tokenizer: Any, rows: int) -> None:
    """Raise ModelError where the tokenizer gives ids that the embedding of `rows` has no row for.

    An embedding with more rows than tokens (padded to a round number) is fine: a row without a token is sampled at
    worst, and decoded to nothing. Tokens for padding, for the unknown and for the end may lie beyond the rows, as they
    do where only a tokenizer was changed: nothing is padded here, a prompt that holds one is refused by the engine, and
    `Texts` tells of an end that cannot be sampled.
    """
    beyond = {token: number for token, number in tokenizer.get_vocab().items() if not 0 <= number < rows}
    for token in (tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token):
        beyond.pop(token, None)
    if not beyond:
        return
    first = sorted(beyond.items(), key=lambda item: item[1])[:_NAMED]
    tokens = ", ".join(f"{shown(token)} is {number}" for token, number in first)
    more = f", and {len(beyond) - len(first)} more" if len(beyond) > len(first) else ""
    raise ModelError(
        f"the tokenizer of '{name}' has tokens beyond the model's {rows} embeddings ({tokens}{more}); resize the "
        "embedding (model.resize_token_embeddings) and train it, or take the tokenizer that belongs to the model."
    )
