"""The process that renders chat templates: one job a line, one answer a line. Run by its path, never imported.

A template is a program that came with a model. Its sandbox refuses attributes, but no loop and no size, so it is
rendered where time and memory are limited. The process ends when its input ends.
"""

import json
import os
import signal
import sys
from typing import Any


def main(deadline_s: float, memory_bytes: int, most_characters: int) -> None:
    """Answer jobs until the input ends; what takes too long ends the process."""
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    from transformers.utils.chat_template_utils import render_jinja_template

    _limit_memory(memory_bytes)
    _reply(replies, {})
    for line in sys.stdin:
        job = json.loads(line)
        _alarm(deadline_s)
        try:
            rendered: Any = render_jinja_template(
                [job["messages"]],
                chat_template=job["template"],
                add_generation_prompt=job["answer_next"],
                **job["special_tokens"],
            )
            text = rendered[0][0]
            reply = {"text": text}
            if len(text) > most_characters:
                reply = {"error": f"it makes {len(text):,} characters of a short conversation"}
        except MemoryError:
            reply = {"error": "it needs too much memory"}
        except Exception as error:
            first = next((line for line in str(error).splitlines() if line.strip()), "")
            reply = {"error": f"{type(error).__name__}: {first}" if first else type(error).__name__}
        _alarm(0)
        _reply(replies, reply)


def _alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)  # its default is to end the process


def _limit_memory(more: int) -> None:
    """Allow `more` bytes of address space beyond what is in use."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))
    except (ImportError, OSError, ValueError):
        return  # not everywhere: the deadline holds


def _reply(replies: Any, value: dict[str, Any]) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
