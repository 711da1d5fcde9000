"""Where the commands of tests are forked from: a copy of this process, made when its tests have been collected.

By then it has imported nearly all that commands import, which takes an interpreter seven seconds.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker, util
from unittest.mock import patch


def start_from_here() -> None:
    """Have Python's fork server be a fork of this process, in place of an interpreter of its own."""
    resource_tracker.ensure_running()  # which is started in the same way, and stays an interpreter
    with patch.object(util, "spawnv_passfds", _forked):
        forkserver.ensure_running()


def _forked(path: bytes, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """Do in a fork what an interpreter would be started for: its last argument is the program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: xdist has one, which the fork does not need
        process = os.fork()
    if process:
        return process
    try:
        _leave_pytest(descriptors)
        exec(arguments[-1], {})
    finally:
        os._exit(0)


def _leave_pytest(descriptors: Sequence[int]) -> None:
    """Be as an interpreter is: warnings are no errors, streams are not captured, nothing but `descriptors` is open."""
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in {int(name) for name in os.listdir("/dev/fd")} - {0, 1, 2, nothing, *descriptors}:
        try:
            os.fstat(descriptor)
        except OSError:
            continue  # it was that of the list
        os.dup2(nothing, descriptor)  # its number is not given away: who holds it may close it yet
    sys.stdin = os.fdopen(nothing, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
