"""Keyed randomness: streams are functions of their path, and nothing else."""

import itertools
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from creditree.rng import Key

PARTS = st.one_of(st.integers(-(2**70), 2**70), st.text(max_size=8))
PATHS = st.lists(PARTS, max_size=4)


@given(PATHS, st.integers(0, 20), st.integers(0, 20))
def test_a_longer_call_starts_with_the_shorter_one(path: list[int | str], short: int, more: int) -> None:
    key = Key.of(0).at(*path)
    assert key.uniforms(short + more)[:short].tolist() == key.uniforms(short).tolist()


@given(PATHS, PATHS)
def test_a_path_may_be_walked_in_pieces(first: list[int | str], second: list[int | str]) -> None:
    assert Key.of(3).at(*first).at(*second) == Key.of(3).at(*first, *second)


@given(PATHS, PATHS)
def test_keys_are_equal_only_for_equal_paths(first: list[int | str], second: list[int | str]) -> None:
    assert (Key.of(3).at(*first) == Key.of(3).at(*second)) == (first == second)


def test_a_number_and_its_text_are_different_parts() -> None:
    assert Key.of(0).at(1) != Key.of(0).at("1")
    assert Key.of(0).at("i1") != Key.of(0).at(1)


def test_a_numpy_integer_is_the_integer() -> None:
    assert Key.of(0).at(np.int64(5)) == Key.of(0).at(5)  # type: ignore[arg-type]


def test_digest_is_the_chain_of_keyed_hashes() -> None:
    digest = b"creditree"
    for part in ("i0", "i4", "scut"):
        digest = blake2b(part.encode(), key=digest, digest_size=16).digest()
    assert Key.of(0).at(4, "cut").digest == digest


def test_drawing_does_not_advance_a_key() -> None:
    key = Key.of(0).at("x")
    assert key.integer(0, 10**9) == key.integer(0, 10**9)
    assert key.uniforms(3).tolist() == key.uniforms(3).tolist()


def test_streams_of_neighbouring_paths_are_uncorrelated() -> None:
    # 1,000 streams of 200 numbers; under independence, correlations of neighbours have standard deviation 1/sqrt(200)
    # = 0.0707, their mean over 999 pairs 0.0022.
    streams = np.stack([Key.of(0).at(index).uniforms(200) for index in range(1000)])
    correlations = np.array([np.corrcoef(a, b)[0, 1] for a, b in itertools.pairwise(streams)])
    assert abs(correlations.mean()) < 5 * 0.0022
    assert np.abs(correlations).max() < 5 * 0.0707


def test_first_numbers_of_many_streams_are_uniform() -> None:
    first = [float(Key.of(0).at("problem", index).uniforms(1)[0]) for index in range(2000)]
    assert stats.kstest(first, "uniform").pvalue > 0.01


def test_integers_are_uniform_with_both_ends() -> None:
    drawn = np.bincount([Key.of(0).at(index).integer(0, 3) for index in range(4000)])
    assert len(drawn) == 4
    assert stats.chisquare(drawn).pvalue > 0.01


@pytest.mark.parametrize(("count", "size", "found"), [(2, 5, 2), (5, 5, 5), (9, 5, 5), (0, 5, 0), (3, 0, 0)])
def test_choose_takes_different_indices_and_all_if_too_few(count: int, size: int, found: int) -> None:
    for seed in range(20):
        chosen = Key.of(seed).choose(count, size)
        assert len(chosen) == len(set(chosen)) == found
        assert all(0 <= index < size for index in chosen)


def test_choose_is_uniform_over_ordered_pairs() -> None:
    pairs = [Key.of(0).at(index).choose(2, 3) for index in range(3000)]
    counts = [pairs.count(pair) for pair in sorted(set(pairs))]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 0.01
