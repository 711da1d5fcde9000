"""Reward functions with TRL's calling convention, called with what TRL calls them with."""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from creditree.errors import ConfigError
from creditree.text import shown
from creditree.trl.data import COLUMNS, PROMPT
from creditree.user_code import keep

Function = Callable[..., Any]


class TrlReward:
    """Calls ``function(prompts, completions, completion_ids, **columns)``; prompts are what the data set has.

    Where prompts are messages a completion is one too, a list of the assistant's. Of several functions one that returns
    None for a completion leaves its reward to the others, as TRL's sum does (`others`).
    """

    def __init__(self, function: Function, *, chat: bool, others: bool) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self._chat = chat
        self._others = others

    def __call__(self, completions: list[str], **offered: Any) -> list[Any]:
        """Return a reward for each completion, None for one that the function does not judge."""
        rows: list[dict[str, Any]] = offered[COLUMNS]
        names = dict.fromkeys(name for row in rows for name in row)
        arguments: dict[str, Any] = {name: [row.get(name) for row in rows] for name in names}
        arguments["prompts"] = offered[PROMPT]
        arguments["completions"] = (
            [[{"role": "assistant", "content": text}] for text in completions] if self._chat else completions
        )
        if "completion_ids" in offered:
            arguments["completion_ids"] = offered["completion_ids"]
        returned = self.function(**self._named(arguments))
        if inspect.isawaitable(returned):
            returned = asyncio.run(_awaited(returned))
        return [0.0 if reward is None and self._others else reward for reward in returned]

    def _named(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return those of the arguments that the function takes."""
        parameters = inspect.signature(self.function).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return arguments
        return {name: value for name, value in arguments.items() if name in parameters}


def reward_block(functions: Any, weights: Sequence[float] | None, *, chat: bool) -> str | list[dict[str, Any]]:
    """Return the block `reward` for one function or several. Raises ConfigError for what is no function."""
    several = list(functions) if isinstance(functions, list | tuple) else [functions]
    for function in several:
        if not callable(function) or hasattr(function, "state_dict"):
            raise ConfigError(f"reward_funcs has {shown(function)}: give functions; reward models are not supported.")
    if not several:
        raise ConfigError("reward_funcs is empty: give a function, or several.")
    if weights is not None and len(weights) != len(several):
        raise ConfigError(f"args.reward_weights has {len(weights)} numbers for {len(several)} reward functions.")
    kept = [keep(TrlReward(function, chat=chat, others=len(several) > 1)) for function in several]
    shares = [1.0] * len(kept) if weights is None else [float(weight) for weight in weights]
    if shares == [1.0]:
        return kept[0]
    return [{"name": name, "weight": weight} for name, weight in zip(kept, shares, strict=True)]


async def _awaited(returned: Any) -> Any:
    return await returned
