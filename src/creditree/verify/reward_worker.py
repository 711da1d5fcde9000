"""The process that calls a user's reward function. Started by `creditree.verify.isolated`.

It imports the function once and calls it for every job, so what its module keeps (caches, models) is kept. What the
function prints goes where errors go, it has no input, and a copy of the process that it makes ends with the call.
"""

import os
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

from creditree.errors import ConfigError
from creditree.user_code import described
from creditree.verify.calling import RewardCallable, call, find_function, name_of
from creditree.verify.child import Channels
from creditree.verify.frames import unpacked

FIRST_TO_GO = "1000"


def main(lifeline: int) -> None:
    """Import the function that the first frame names, then answer jobs until the input ends."""
    channels = Channels.opened(lifeline)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write(FIRST_TO_GO)  # where memory runs out, the system ends this process and not the run
    jobs, own = channels.frames(), os.getpid()
    channels.reply({"ready": True})
    try:
        location, sys.path[:] = unpacked(next(jobs))
        function = _imported(location)
        _end_copies(own)
        channels.reply({"name": name_of(function)} if callable(function) else {"error": function})
        for payload in jobs:
            outcomes = _called(function, payload)
            _end_copies(own)
            channels.set_standard_streams()  # it may have closed them
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            channels.reply(outcomes)
    finally:
        _end_copies(own)


def _imported(location: str) -> RewardCallable | str:
    """Return the function, or the reason why there is none."""
    try:
        return find_function(location)
    except ConfigError as error:
        return str(error)


def _called(function: Any, payload: bytes) -> list[float | str]:
    arguments, expected = unpacked(payload)
    try:
        return call(function, arguments, expected)
    except BaseException as error:  # KeyboardInterrupt, which nobody but the function can have raised here
        return [f"the function raised {described(error)}"] * expected
    finally:
        # A timer that it forgot must not end the next call, or this process between two calls.
        signal.setitimer(signal.ITIMER_REAL, 0)


def _end_copies(own: int) -> None:
    """End this process where it is a copy, made by a fork that did not end by itself."""
    if os.getpid() != own:
        _leave()


def _leave() -> NoReturn:
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
