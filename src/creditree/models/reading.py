"""The one place that turns whatever transformers, tokenizers, safetensors or peft raise into a sentence.

A damaged or foreign directory makes them raise almost anything: TypeError, KeyError, ZeroDivisionError, errors of
strict dataclasses, RecursionError, a bare Exception, and panics of Rust code, which are no Exception at all. Which file
is at fault is found afterwards, by reading each by itself.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from creditree.disk import content, is_file, is_folder, is_inside, is_there, opened
from creditree.errors import CreditreeError, ModelError
from creditree.models.directory import known, locate
from creditree.models.sizes import size_problem
from creditree.text import one_line, shown

REASON = 300
"""Characters of a foreign error that a sentence shows."""
_LFS = b"version https://git-lfs"
_INDEX = "model.safetensors.index.json"
SMALL = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", _INDEX)
_LARGE = ("added_tokens.json", "vocab.json", "tokenizer.json")
"""Files that hold a JSON object, where they are there."""
_LONG = (" This could be because", " for this kind of AutoModel")
"""Where ten lines of transformers' advice begin, for a type that it does not know."""
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")


def load_config(name: str, *, offline: bool = False) -> Any:
    """Return a model's configuration. Raises ModelError."""
    where = located(name)
    with reading(name, where, "config.json"):
        if not is_folder(where):
            _check_sizes(name, PreTrainedConfig.get_config_dict(where, local_files_only=offline)[0])
        return AutoConfig.from_pretrained(where, local_files_only=offline, trust_remote_code=False)


def load_tokenizer(name: str, *, offline: bool = False) -> PreTrainedTokenizerBase:
    """Return a model's tokenizer. Raises ModelError."""
    where = located(name)
    with reading(name, where, "its tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            where, local_files_only=offline, trust_remote_code=False
        )
        _ = tokenizer.get_vocab(), tokenizer.eos_token_id, tokenizer.encode("1")  # what was not read yet is read now
        return tokenizer


def load_generation(name: str, *, offline: bool = False) -> GenerationConfig | None:
    """Return what a model says of generation, or None: it need not have such a file. Raises ModelError."""
    where = located(name)
    directory = Path(where)
    if is_folder(directory) and not is_there(directory / "generation_config.json"):
        return None
    with reading(name, where, "generation_config.json"):
        try:
            return GenerationConfig.from_pretrained(where, local_files_only=offline)
        except OSError:
            if is_folder(directory):
                raise
            return None


def load_weights(name: str, **options: Any) -> Any:
    """Return a model with its weights, read from safetensors only. Raises ModelError."""
    where = locate(name)
    transformers_logging.disable_progress_bar()
    with reading(name, where, "config.json"), _quiet():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            where, trust_remote_code=False, use_safetensors=True, output_loading_info=True, **options
        )
    model, loading = loaded
    if loading["missing_keys"]:
        raise ModelError(
            f"the weights of model '{name}' are incomplete ({sorted(loading['missing_keys'])[0]} is missing); "
            "get or save them again."
        )
    return model


def located(name: str) -> str:
    """Return where a model is, its small files known to be JSON: transformers passes over some that are not.

    Raises ModelError.
    """
    where = locate(name)
    problem = fault_in(Path(where), SMALL) if is_folder(where) else None
    if problem is not None:
        raise ModelError(_damaged(name, *problem))
    return where


@contextmanager
def reading(name: str, where: str, what: str) -> Iterator[None]:
    """Run a block that reads `what` of a model; whatever it raises becomes a ModelError that names the file at fault.

    `where`: the model's directory, or its name on the hub.
    """
    with one_sentence(lambda error: _refusal(name, where, what, error)):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Run a block without transformers' tables of what is missing in the weights: it is said in a sentence."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


@contextmanager
def one_sentence(sentence: Callable[[BaseException], str | ModelError]) -> Iterator[None]:
    """Run a block of foreign code; what it raises becomes a ModelError with the sentence for it, or the one given.

    A lack of memory says nothing about the model, and stays what it is.
    """
    try:
        yield
    except (CreditreeError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise _as_error(sentence(error)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Ctrl-C and the like
            raise
        raise _as_error(sentence(error)) from error


def _as_error(said: str | ModelError) -> ModelError:
    return said if isinstance(said, ModelError) else ModelError(said)


def reason_of(error: BaseException) -> str:
    """Return what an error says, in one line: with its kind, unless that is one whose text is made for readers."""
    text = str(error)
    for rest in _LONG:
        text = text.partition(rest)[0]
    text = one_line(text, REASON).rstrip(".")
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if text and isinstance(error, OSError | ValueError | ImportError | RuntimeError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def fault_in(directory: Path, files: Sequence[str] = ()) -> tuple[str, str] | None:
    """Return the first file of a model directory that cannot be used by itself, and why; None where each can.

    `files`: only these, which hold a JSON object each; else all of them and the weights.
    """
    for name in files or (*SMALL, *_LARGE):
        path = directory / name
        problem = object_problem(path) if is_there(path) else None
        if problem is None and name in _WITHIN and is_there(path):
            problem = _WITHIN[name](path)
        if problem is not None:
            return name, problem
    for path in () if files else sorted(directory.glob("*.safetensors")):
        problem = weights_problem(path)
        if problem is not None:
            return path.name, problem
    return None


def object_problem(path: Path) -> str | None:
    """Return why a file holds no JSON object, or None."""
    try:
        data = content(path)
        if data[: len(_LFS)] == _LFS:
            return "it is a git-lfs pointer, not the file: fetch it with git lfs pull"
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        return "it is not UTF-8 text"
    except json.JSONDecodeError as error:
        return f"it is not a valid JSON file: {error.msg} in line {error.lineno}"
    except (OSError, ValueError, RecursionError) as error:
        return reason_of(error)
    return (
        None if isinstance(value, dict) else f"it holds {_KINDS.get(type(value), 'something else')}, not a JSON object"
    )


_KINDS: dict[type, str] = {
    list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false", type(None): "null",
}  # fmt: skip
"""What JSON calls what Python makes of it."""


def weights_problem(path: Path) -> str | None:
    """Return why a safetensors file cannot be opened, or None. Reads its header only."""
    try:
        with opened(path) as file:
            if file.read(len(_LFS)) == _LFS:
                return "it is a git-lfs pointer, not the weights: fetch them with git lfs pull"
        with safe_open(path, framework="pt") as weights:
            weights.keys()
    except Exception as error:
        return reason_of(error)
    return None


def _refusal(name: str, where: str, what: str, error: BaseException) -> str:
    if isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
        return (
            f"model '{name}' does not fit into memory ({reason_of(error)}); take a smaller one, or another model.dtype."
        )
    directory = Path(where)
    if not is_folder(directory):
        reason = _hub_reason(error)
        return f"model '{name}' could not be loaded ({reason}); give a directory, a hub name or one of {known()}."
    return _damaged(name, *(fault_in(directory) or (_guess(directory, what), _of_loading(error))))


def _damaged(name: str, file: str, reason: str) -> str:
    return f"model '{name}' could not be loaded ({file}: {reason}); get or save it again."


def _of_loading(error: BaseException) -> str:
    if "ignore_mismatched_sizes" in str(error):
        return "the sizes that it names are not those of the weights"
    return reason_of(error)


def _guess(directory: Path, what: str) -> str:
    """Return which file is at fault where each can be parsed: the first that its own reader refuses, else `what`."""
    readers: dict[str, Callable[[], object]] = {
        "config.json": lambda: AutoConfig.from_pretrained(directory, trust_remote_code=False),
        "tokenizer.json": lambda: Tokenizer.from_file(str(directory / "tokenizer.json")),
        "tokenizer_config.json": lambda: AutoTokenizer.from_pretrained(directory, trust_remote_code=False),
        "generation_config.json": lambda: GenerationConfig.from_pretrained(directory),
    }
    for file, read in readers.items():
        if not is_file(directory / file):
            continue
        try:
            with one_sentence(reason_of):
                read()
        except ModelError:
            return file
    return what


def _check_sizes(name: str, values: Mapping[str, Any]) -> None:
    problem = size_problem(values)
    if problem is not None:
        raise ModelError(_damaged(name, "config.json", problem))


def _config_problem(path: Path) -> str | None:
    """Return why a configuration cannot be that of a model."""
    return size_problem(json.loads(content(path)))


def _index_problem(path: Path) -> str | None:
    """Return why an index of shards cannot be used: it maps names of tensors to files beside it."""
    shards = json.loads(content(path)).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        return "it has no weight_map from tensors to files"
    outside = next((shard for shard in shards.values() if not is_inside(shard)), None)
    if outside is not None:
        return f"it names {shown(outside)}, which lies elsewhere"
    missing = sorted({shard for shard in shards.values() if not is_file(path.parent / shard)})
    return f"{one_line(missing[0], REASON)}, which it names, is not there" if missing else None


_WITHIN: dict[str, Callable[[Path], str | None]] = {"config.json": _config_problem, _INDEX: _index_problem}
"""What small files are checked for beside being JSON."""


def _hub_reason(error: BaseException) -> str:
    text = str(error)
    if "couldn't connect" in text or "offline" in text or "local_files_only" in text or "outgoing traffic" in text:
        return "there is no directory of that name, it was not downloaded before, and the hub cannot be reached"
    if "is not a valid model identifier" in text or "Repo id" in text or "Repository Not Found" in text:
        return "there is no directory of that name, and the hub has no such model"
    return reason_of(error)
