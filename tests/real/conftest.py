"""Pretrained models for tests: `python -m recipes.real.fetch` gets them; without them these tests skip."""

import os
from pathlib import Path

import pytest

from creditree.models.load import Model, load_model
from recipes.real.fetch import FOLDER, SOURCES


def weights(name: str) -> str:
    """Return the path of a fetched GGUF file, or skip the test."""
    folder = Path(os.environ.get("CREDITREE_WEIGHTS", FOLDER))
    path = folder / SOURCES[name].file
    if not path.is_file():
        pytest.skip(f"no weights at {path}: python -m recipes.real.fetch {name} gets them")
    return str(path)


@pytest.fixture(scope="package", params=["smollm2", "qwen"])
def real(request: pytest.FixtureRequest) -> Model:
    """Return a pretrained model in float32."""
    return load_model(weights(request.param), "float32")


@pytest.fixture(scope="package")
def smollm2() -> Model:
    """Return the smallest of the pretrained models, in float32."""
    return load_model(weights("smollm2"), "float32")


@pytest.fixture(scope="package")
def gemma3() -> Model:
    """Return the pretrained model that is run by its own forward pass, in float32."""
    return load_model(weights("gemma3"), "float32")


@pytest.fixture(params=["smollm2", "gemma3"])
def own(request: pytest.FixtureRequest) -> Model:
    """Return a pretrained model, of either way to be run, for one test alone, which may put an adapter on it."""
    return load_model(weights(request.param), "float32")
