"""Two hosts: network namespaces with own addresses, a Ray node in each, a run across them, a line that is cut."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import ENVIRONMENT, write_config

HOSTS = {"creditree-a": "10.231.7.1", "creditree-b": "10.231.7.2"}
HEAD, ADDRESS = "creditree-a", "10.231.7.1:6399"
CUT_S = 10.0
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
QUIET = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_agent_register_timeout_ms": "300000",
}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def on(host: str, command: list[str], **more: str) -> subprocess.Popen[str]:
    """Start a command on a host."""
    return subprocess.Popen(
        ["ip", "netns", "exec", host, *command],
        env=ENVIRONMENT | QUIET | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def link(state: str) -> None:
    ip("netns", "exec", HEAD, "ip", "link", "set", "creditree-va", state)


@pytest.fixture
def hosts() -> Iterator[None]:
    """Make two hosts with a line between them; skip where this machine cannot."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("two hosts are made with `ip netns`, which takes root and iproute2")
    try:
        for host in HOSTS:
            ip("netns", "add", host)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no network namespaces: {error.stderr.decode().strip()}")
    try:
        ip("link", "add", "creditree-va", "type", "veth", "peer", "name", "creditree-vb")
        for host, name in zip(HOSTS, ("creditree-va", "creditree-vb"), strict=True):
            ip("link", "set", name, "netns", host)
            ip("netns", "exec", host, "ip", "addr", "add", f"{HOSTS[host]}/24", "dev", name)
            ip("netns", "exec", host, "ip", "link", "set", name, "up")
            ip("netns", "exec", host, "ip", "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            pids = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True, check=False).stdout
            for pid in pids.split():
                subprocess.run(["kill", "-9", pid], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", host], check=False, capture_output=True)


def joined(temporary: Path) -> None:
    """Start a Ray node with one CPU on each host."""
    first = ["--head", "--port=6399", f"--temp-dir={temporary}", "--include-dashboard=false"]
    for host, words in ((HEAD, first), ("creditree-b", [f"--address={ADDRESS}"])):
        node = on(host, [*RAY, "start", *words, f"--node-ip-address={HOSTS[host]}", "--num-cpus=1"])
        out, _ = node.communicate(timeout=300)
        assert node.returncode == 0, out


@pytest.mark.slow
def test_a_run_across_two_hosts_outlives_a_line_that_is_cut(hosts: None, tmp_path: Path) -> None:
    config = str(
        write_config(
            tmp_path / "c.yaml",
            train={"steps": 40, "problems_per_step": 4, "learning_rate": 4e-3, "threads": 1},
            evaluation={"problems": 8, "temperatures": [0]},
        )
    )
    joined(Path("/tmp") / f"ray-{os.getpid()}")  # short: sockets lie below it
    command = [sys.executable, "-m", "creditree", "train", config, "--workers", "2", "--run"]
    across = on(HEAD, [*command, str(tmp_path / "across")], RAY_ADDRESS=ADDRESS)
    metrics, until = tmp_path / "across" / "metrics.jsonl", time.monotonic() + 400
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3) and time.monotonic() < until:
        assert across.poll() is None, across.communicate()[0]
        time.sleep(0.02)
    link("down")
    done = metrics.read_text().count("\n")
    time.sleep(CUT_S)
    stood = metrics.read_text().count("\n")
    link("up")
    out, _ = across.communicate(timeout=500)
    assert across.returncode == 0, out
    assert stood <= done + 1 < 40  # the other host had work in hand, and the run waited for it
    here = subprocess.run(
        [*command, str(tmp_path / "here")], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=500
    )
    assert here.returncode == 0, here.stderr
    names = ("across", "here")
    adapters = [(tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in names]
    assert adapters[0] == adapters[1]
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in names]
    assert summaries[0]["after"] == summaries[1]["after"]
