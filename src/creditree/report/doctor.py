"""What the doctor found, for the terminal, from the record that programs read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from creditree.report.wording import duration, terminal_table
from creditree.units import show_bytes

STYLES = {"problem": "bold red", "note": "bold blue"}


def doctor_view(record: Mapping[str, Any], spelled: Callable[[str], str] = str) -> RenderableType:
    """Return the record for the terminal: the machine, what fits, what was tried, and the findings.

    `spelled` writes the parameters that sentences name as a door calls them.
    """
    parts: list[RenderableType] = []
    if record["subject"]["kind"] == "machine":
        parts += _machine(record["machine"])
    parts += [Text(line) for line in (*_fits(record["memory"]), *_tried(record["probe"]), *record["left_out"])]
    for finding in record["findings"]:
        parts += [Text(), *_finding(finding, spelled)]
    return Group(*parts, Text(), Text(_conclusion(record)))


def _machine(machine: Mapping[str, Any]) -> list[RenderableType]:
    versions, decoder = machine["versions"], machine["decoder"]
    cpu = f"{versions['cpu']}, {versions['cores']} cores"
    native = f"native code, {decoder['compiler']}" if decoder["engine"] == "native" else f"torch: {decoder['why']}"
    hardware = [("system", versions["system"]), ("processor", cpu), ("decoding on the CPU", native)]
    devices = [(_device(device), _of(device["usable"], device["memory"])) for device in machine["devices"]]
    caches = [(cache["path"], f"{show_bytes(cache['free'])} free: {cache['what']}") for cache in machine["caches"]]
    hub = "no (HF_HUB_OFFLINE)" if machine["offline"] else "yes"
    shown = [*hardware, *devices, *caches, ("the hub may be asked", hub)]
    hidden = ("system", "cpu", "cores", "gpu", "cuda")
    libraries = [(name, value or "not installed") for name, value in versions.items() if name not in hidden]
    extras = [(f"creditree[{name}]", value or "not installed") for name, value in machine["extras"].items()]
    return [
        _table("this machine", shown),
        _table("versions", libraries),
        _table("extras", extras),
    ]


def _table(title: str, rows: Sequence[tuple[str, object]]) -> RenderableType:
    return terminal_table(title, ("what", "here"), [(name, str(value)) for name, value in rows], num_left=2)


def _device(device: Mapping[str, Any]) -> str:
    return f"memory of {device['name']}" + (f" ({device['kind']})" if device["kind"] else "")


def _of(usable: int, memory: int) -> str:
    return f"{show_bytes(usable)} can be planned with, of {show_bytes(memory)}"


def _fits(memory: Mapping[str, Any] | None) -> list[str]:
    if memory is None:
        return []
    fits = "fits" if memory["fits"] else "does not fit"
    largest = [f"{memory['group_key']} {memory['group']}"] if memory["group"] else []
    largest += [f"sampling.max_new_tokens {memory['length']:,}"] if memory["length"] else []
    most = f" Largest that fits, the other as configured: {', '.join(largest)}." if largest else ""
    assumed = " The prompt's length is assumed." if memory["assumed"] else ""
    sizes = {name: show_bytes(memory[name]) for name in ("expected", "at_most", "usable")}
    words = f"{sizes['expected']} are expected, at most {sizes['at_most']}, of {sizes['usable']}"
    return [f"Memory: it {fits} on {memory['device']}: {words}.{most}{assumed}"]


def _tried(probe: Mapping[str, Any] | None) -> list[str]:
    if probe is None:
        return []
    counted = ", ".join(_counted(probe[name], name) for name in ("steps", "groups", "completions"))
    return [f"Tried in memory: {counted}, in {duration(probe['seconds'])}."]


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what[:-1] if number == 1 else what}"


def _finding(finding: Mapping[str, Any], spelled: Callable[[str], str]) -> list[RenderableType]:
    severity, text = finding["severity"], spelled(finding["text"])
    head = Text.assemble((severity, STYLES[severity]), f" {finding['id']}: {text}")
    figures = ", ".join(f"{name} {_figure(value)}" for name, value in finding["evidence"].items())
    lines = [f"  evidence: {figures}"] if figures else []
    lines += [f"  example: {finding['example']}"] if finding["example"] else []
    lines += [f"  remedy: {spelled(finding['remedy'])}"]
    lines += [f"    {line}" for line in finding["yaml"]]
    return [head, *map(Text, lines)]


def _figure(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _conclusion(record: Mapping[str, Any]) -> str:
    count, notes = record["problems"], len(record["findings"]) - record["problems"]
    also = f", and {notes} note{'' if notes == 1 else 's'}" if notes else ""
    if count == 0:
        return f"No problem found{also}: {len(record['looked_for'])} were looked for."
    places = "each has a section in docs/doctor.md"
    return f"{count} problem{'' if count == 1 else 's'} found{also}: {places}."
