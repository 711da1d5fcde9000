"""Fuzz the parsers with atheris: ``python -m tests.fuzz --seconds 120 csv jsonl``; without names all of them.

Each target runs in a process of its own, with coverage of Creditree and PyYAML. What it found lies in
``build/fuzz/NAME`` with the corpus, and goes on from there. An input that breaks a law belongs into
``tests/fuzz/found/NAME``, where the suite tries it ever after.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

PLACE = Path("build/fuzz")


def main() -> int:
    """Fuzz each target for a while; return how many broke a law."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--here", action="store_true", help="in this process (what the command runs)")
    options = parser.parse_args()
    if options.here:
        _fuzz(options.names[0], options.seconds)
    names = options.names or _names()
    return sum(_run(name, options.seconds) for name in names)


def _names() -> list[str]:
    from tests.fuzz.targets import TARGETS

    return [*TARGETS]


def _run(name: str, seconds: int) -> bool:
    """Fuzz one target in a process; return whether it broke a law."""
    command = [sys.executable, "-m", "tests.fuzz", "--here", "--seconds", str(seconds), name]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="backslashreplace", check=False
    )
    log = PLACE / f"{name}.log"
    log.write_text(done.stdout, encoding="utf-8")
    counted = re.findall(r"(?:stat::number_of_executed_units: *|Done )(\d+)", done.stdout)
    said = "nothing found" if done.returncode == 0 else f"FOUND SOMETHING (exit code {done.returncode}), see {log}"
    print(f"{name:14} {counted[-1] if counted else '?':>9} executions: {said}", flush=True)
    return done.returncode != 0


def _fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: make fuzz installs it into an environment of its own.")
    with atheris.instrument_imports(include=["creditree", "yaml"]):
        from tests.fuzz.targets import SEEDS, TARGETS
    corpus, words = PLACE / name, PLACE / f"{name}.dict"
    corpus.mkdir(parents=True, exist_ok=True)
    tokens: set[bytes] = set()
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
        tokens |= set(re.findall(rb"[A-Za-z_\\.]{2,30}", seed))
    quoted = ("".join(f"\\x{byte:02x}" for byte in token) for token in sorted(tokens)[:400])
    words.write_text("".join(f'"{token}"\n' for token in quoted), encoding="ascii")
    limits = [
        f"-max_total_time={seconds}",
        "-timeout=20",
        "-rss_limit_mb=4096",
        "-max_len=6000",
        "-print_final_stats=1",
    ]
    atheris.Setup(
        [sys.argv[0], *limits, f"-dict={words}", f"-artifact_prefix={PLACE}/{name}-", str(corpus)], TARGETS[name]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
