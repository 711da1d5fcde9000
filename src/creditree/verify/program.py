"""Programs: the completion's last block of Python is run, and what it prints is compared."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from creditree.errors import ConfigError
from creditree.problem import Verdict
from creditree.verify.final_answer import after_thinking
from creditree.verify.number import plain_number
from creditree.verify.verifier import Answer, Verifier

BLOCK = re.compile(r"^[ \t]*```(?:python3?|py)?[ \t]*\r?\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE | re.IGNORECASE)
MOST_OUTPUT = 64 * 1024
"""Bytes that a program may print, and write to a file."""
PROGRAM = "program.py"

# Run by the child before the program: limits set there hold for nothing else, and need no code between fork and exec.
LAUNCH = """
import runpy, sys
cpu, memory, size = map(int, sys.argv[1:4])
try:
    import resource as r
    for name, limit in (("CPU", cpu), ("AS", memory), ("FSIZE", size), ("NPROC", 0), ("CORE", 0), ("NOFILE", 64)):
        most = r.getrlimit(getattr(r, "RLIMIT_" + name))[1]
        limit = limit if most == r.RLIM_INFINITY else min(limit, most)
        r.setrlimit(getattr(r, "RLIMIT_" + name), (limit, limit))
    del r, name, limit, most
except ImportError:
    pass
sys.argv = ["program.py"]
runpy.run_path("program.py", run_name="__main__")
"""


@dataclass(frozen=True, slots=True)
class Program(Verifier):
    """Reward 1 if the last fenced block of Python in the completion prints an accepted answer, else 0.

    The program runs as ``python -I`` in an empty directory that is removed afterwards, without input or the caller's
    environment, under limits on processor time, memory, files and processes where the system has them, and is killed
    with its group after `deadline_s` wall seconds. **This is no sandbox**: it runs as the user, can read the user's
    files and can reach the network; so `allow_execution` must be given, for models and machines where that is no harm.

    No block is ``unparsable``; the deadline is a ``timeout``; a program that ends with an error, or prints more than
    64 KiB, is a ``crash``: each has reward 0. Outputs are compared line by line without white space at the ends;
    a single number is compared as a number. Raises ConfigError without `allow_execution`.
    """

    allow_execution: bool = False
    deadline_s: float = 5.0
    memory_bytes: int = 1 << 29
    num_workers: int = 2

    def __post_init__(self) -> None:
        if not self.allow_execution:
            raise ConfigError(
                "the grader program runs what the model writes on this machine, as you; if that is acceptable, set "
                "reward: {name: program, allow_execution: true}."
            )

    def judge(self, answers: Sequence[Answer]) -> tuple[Verdict, ...]:
        """Return one verdict an answer, in order."""
        with ThreadPoolExecutor(self.num_workers, "creditree-program") as threads:
            return tuple(threads.map(self._verdict, answers))

    def same(self, one: str, other: str) -> bool:
        """Return whether two outputs are the same, as an output and an accepted answer are compared."""
        return same_output(one, other)

    def _verdict(self, answer: Answer) -> Verdict:
        program = last_program(answer.completion)
        if program is None:
            return Verdict(0.0, "unparsable", "the completion has no fenced block of Python.")
        with tempfile.TemporaryDirectory(prefix="creditree-", ignore_cleanup_errors=True) as folder:
            (Path(folder) / PROGRAM).write_text(program, encoding="utf-8", errors="replace")
            try:
                code, printed = self._run(folder)
            except subprocess.TimeoutExpired:
                return Verdict(0.0, "timeout", f"the program ran longer than {self.deadline_s:g} s.")
        if code != 0:
            return Verdict(0.0, "crash", f"the program ended with exit code {code}.")
        right = any(same_output(printed, truth) for truth in answer.problem.answers)
        return Verdict(1.0 if right else 0.0, answer="\n".join(_lines(printed)))

    def _run(self, folder: str) -> tuple[int, str]:
        """Return the exit code and what was printed. Raises TimeoutExpired; nothing of the program's group survives."""
        limits = [str(int(self.deadline_s) + 1), str(self.memory_bytes), str(MOST_OUTPUT)]
        # Output goes to a file, whose size the system limits: a pipe would have to be read without end.
        with tempfile.TemporaryFile() as printed:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", LAUNCH, *limits],
                cwd=folder,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": folder},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.DEVNULL,
                start_new_session=os.name == "posix",
            )
            try:
                code = process.wait(self.deadline_s)
            finally:
                _kill_group(process)
            printed.seek(0)
            return code, printed.read(MOST_OUTPUT).decode("utf-8", "replace")


def last_program(completion: str) -> str | None:
    """Return the last fenced block of Python behind the last ``</think>``, or None."""
    blocks = BLOCK.findall(after_thinking(completion))
    return blocks[-1] if blocks else None


def same_output(printed: str, truth: str) -> bool:
    """Return whether what was printed is an accepted answer: the same lines, or the same number."""
    if _lines(printed) == _lines(truth):
        return True
    number, other = plain_number(printed.strip()), plain_number(truth.strip())
    return number is not None and other is not None and number.value == other.value


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
