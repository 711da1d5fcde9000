"""The random streams, frozen: a change here changes every run, and a run of before could not be resumed."""

from creditree.rng import Key


def test_digests() -> None:
    assert Key.of(0).digest.hex() == "b28de51f69110b1778ce9c090ee69db8"
    assert Key.of(42).at(7, "problem-3", 5, "sample").digest.hex() == "43276442affdd3d9a1625d9c8bc0f98a"


def test_uniforms() -> None:
    key = Key.of(42).at(7, "problem-3", 5, "sample")
    assert key.uniforms(4).tolist() == [0.5353988326632036, 0.8789650062948053, 0.19764356337480815, 0.8522216742699036]


def test_integers_and_choices() -> None:
    assert [Key.of(42).at(index).integer(0, 999) for index in range(5)] == [865, 83, 848, 463, 960]
    assert [Key.of(seed).choose(3, 10) for seed in range(3)] == [(5, 1, 3), (3, 7, 9), (1, 2, 0)]
