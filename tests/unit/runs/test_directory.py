import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creditree.errors import RunError
from creditree.runs.attempts import Attempt
from creditree.runs.checkpoint import Checkpoint
from creditree.runs.directory import RunDirectory
from creditree.runs.rollouts import rollout_table
from tests.forests import EOS, flat

CONFIG = "model:\n  path: base\nmethod:\n  group: 16\n  rate: 0.002\nseed: 0\n"
TREE = flat([(2, EOS)], [1.0])


def write_step(run: RunDirectory, step: int) -> None:
    run.append({"step": step, "reward_mean": step / 10})
    run.write_rollouts(step, rollout_table(step, [(TREE,)], [((np.zeros(2),),)], [((np.ones(2),),)], [[["a"]]]))


def save(run: RunDirectory, step: int) -> None:
    run.save(Checkpoint(step, {"w": np.arange(step)}, {"step": step}))


def contents(path: Path) -> dict[str, bytes]:
    files = (file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_create_writes_configuration_and_code(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "deep" / "run", CONFIG) as run:
        assert run.config_yaml == CONFIG
    code = json.loads((tmp_path / "deep" / "run" / "code.json").read_text())
    assert code["python"] == ".".join(map(str, sys.version_info[:3]))
    assert code["numpy"] == np.__version__
    assert code["cores"] >= 1
    assert code["cpu"]
    assert {"creditree", "commit", "torch", "transformers", "peft"} <= set(code)


def test_create_refuses_a_directory_with_a_run(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, CONFIG).close()
    with pytest.raises(RunError, match="already holds a run; continue it with `resume`, or choose another directory"):
        RunDirectory.create(tmp_path, CONFIG)
    RunDirectory.resume(tmp_path, CONFIG).close()


def test_other_files_do_not_make_a_run_but_remains_of_one_do(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    RunDirectory.create(tmp_path, CONFIG).close()
    (tmp_path / "config.yaml").unlink()
    (tmp_path / "metrics.jsonl").touch()
    for open_run in (RunDirectory.create, RunDirectory.resume):
        with pytest.raises(RunError, match=r"holds metrics\.jsonl but no config\.yaml"):
            open_run(tmp_path, CONFIG)


@pytest.mark.parametrize(
    "name", ["report.md", "summary.json", "code.json", "inputs.json", "adapter/notes", "rollouts/a"]
)
def test_what_a_run_would_write_over_is_somebody_s_where_there_is_no_run(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    place.write_text("mine")
    for open_run in (RunDirectory.create, RunDirectory.resume):
        with pytest.raises(RunError, match=rf"holds {name.partition('/')[0]} but no config\.yaml, and it would be"):
            open_run(tmp_path, CONFIG)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [place]
    assert place.read_text() == "mine"


def test_a_sealed_folder_is_no_place_for_a_run(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run", CONFIG) as run, run.published("adapter") as folder:
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
    with pytest.raises(RunError, match=r"adapter holds creditree\.sha256 but no config\.yaml"):
        RunDirectory.create(tmp_path / "run" / "adapter", CONFIG)


def test_what_a_start_leaves_that_was_cut_short_hinders_no_run(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "run", CONFIG).close()
    (tmp_path / "run" / "config.yaml").unlink()  # the last file of a start
    (tmp_path / "run" / ".partial-config.yaml").write_text("model:")
    (tmp_path / "run" / "server.log").write_text("ready")
    assert {"code.json", ".lock"} < {path.name for path in (tmp_path / "run").iterdir()}
    RunDirectory.resume(tmp_path / "run", CONFIG).close()
    assert (tmp_path / "run" / "config.yaml").read_text() == CONFIG


def test_unwritable_places_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"Run directory .*file is a file; choose another directory\."):
        RunDirectory.create(tmp_path / "file", CONFIG)
    with pytest.raises(RunError, match=r"Cannot write .*file/run: Not a directory"):
        RunDirectory.create(tmp_path / "file" / "run", CONFIG)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_write_permission_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o500)
    with pytest.raises(RunError, match=r"Cannot write .*run: Permission denied"):
        RunDirectory.create(tmp_path / "run", CONFIG)


def test_read_needs_a_run_and_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"There is no run in .*: config\.yaml is missing"):
        RunDirectory.read(tmp_path)
    with RunDirectory.create(tmp_path, CONFIG) as run:
        run.append({"step": 1})
        reader = RunDirectory.read(tmp_path)
        assert reader.metrics() == [{"step": 1}]
        for write in (
            lambda: reader.append({"step": 2}),
            reader.restore,
            lambda: reader.write_json("summary.json", {}),
        ):
            with pytest.raises(RunError, match="open for reading only"):
                write()
    with pytest.raises(RunError, match="open for reading only"):
        run.append({"step": 2})


def test_resume_names_the_keys_that_differ(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, CONFIG).close()
    other = CONFIG.replace("group: 16", "group: 50").replace("seed: 0", "seed: 1\nextra: x")
    with pytest.raises(RunError) as error:
        RunDirectory.resume(tmp_path, other)
    assert str(error.value) == (
        f"Run directory {tmp_path} was made with another configuration: method.group is 16 in the run and 50 now, "
        "seed is 0 in the run and 1 now, extra is not set in the run and 'x' now; "
        "resume with the same one, or choose another directory."
    )
    RunDirectory.resume(tmp_path, "seed: 0\nmethod: {rate: 2.0e-3, group: 16} # same\nmodel: {path: base}").close()


def test_resume_of_nothing_starts(tmp_path: Path) -> None:
    with RunDirectory.resume(tmp_path / "new", CONFIG) as run:
        assert run.restore() == (None, [])
        write_step(run, 1)
    assert RunDirectory.read(tmp_path / "new").metrics() == [{"step": 1, "reward_mean": 0.1}]


def test_resume_without_a_checkpoint_starts_over(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, CONFIG) as run:
        write_step(run, 0)
        write_step(run, 1)
    with RunDirectory.resume(tmp_path, CONFIG) as run:
        assert run.restore() == (None, ["No step of this run has a checkpoint yet; starting over from step 0."])
        assert (run.metrics(), run.rollout_steps()) == ([], [])


def test_an_interrupted_and_resumed_run_has_the_bytes_of_an_uninterrupted_one(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "straight", CONFIG) as run:
        for step in range(1, 7):
            write_step(run, step)
            if step % 2 == 0:
                save(run, step)
    with RunDirectory.create(tmp_path / "broken", CONFIG) as run:
        for step in range(1, 6):
            write_step(run, step)
            if step % 2 == 0:
                save(run, step)
    with (tmp_path / "broken" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 6, "rew')
    (tmp_path / "broken" / "rollouts" / ".partial-step-000006.parquet").write_bytes(b"PAR")
    (tmp_path / "broken" / ".partial-summary.json").write_bytes(b"{")
    with RunDirectory.resume(tmp_path / "broken", CONFIG) as run:
        checkpoint, warnings = run.restore()
        assert checkpoint is not None
        assert (checkpoint.step, warnings) == (4, [])
        for step in range(checkpoint.step + 1, 7):
            write_step(run, step)
        save(run, 6)
    assert contents(tmp_path / "broken") == contents(tmp_path / "straight")


def test_a_damaged_checkpoint_takes_metrics_and_rollouts_back_with_it(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, CONFIG) as run:
        for step in (1, 2, 3):
            write_step(run, step)
            save(run, step)
    os.truncate(tmp_path / "checkpoints" / "step-000003" / "state.json", 3)
    with RunDirectory.resume(tmp_path, CONFIG) as run:
        checkpoint, warnings = run.restore()
        assert checkpoint is not None
        assert checkpoint.step == 2
        assert len(warnings) == 1
        assert warnings[0].endswith("continuing from step 2.")
        assert [record["step"] for record in run.metrics()] == run.rollout_steps() == [1, 2]
        assert run.rollouts(2)[0]["token_ids"] == [2, EOS]
        with pytest.raises(RunError, match=r"step-000003\.parquet"):
            run.rollouts(3)


def test_a_changed_library_is_told_on_resume(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, CONFIG).close()
    code = json.loads((tmp_path / "code.json").read_text())
    (tmp_path / "code.json").write_text(json.dumps(code | {"numpy": "1.0"}))
    with RunDirectory.resume(tmp_path, CONFIG) as run:
        _, warnings = run.restore()
    sentence = f"This run was started with numpy 1.0 and continues with {np.__version__}: "
    assert warnings == [sentence + "its numbers may differ from an uninterrupted run's."]


def test_json_files_and_published_folders(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, CONFIG) as run:
        run.write_json("summary.json", {"method": "t-spmo"})
        with run.published("adapter") as folder:
            (folder / "adapter_config.json").touch()
        assert run.has("adapter")
        assert not run.has("best")
    reader = RunDirectory.read(str(tmp_path))
    assert reader.read_json("summary.json") == {"method": "t-spmo"}
    assert {path.name for path in reader.adapter.iterdir()} == {"adapter_config.json", "creditree.sha256"}
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "torn.json").write_text("{")
    for name, cause in (
        ("evaluation.json", "Cannot read"),
        ("list.json", "not a JSON object"),
        ("torn.json", "not JSON"),
    ):
        with pytest.raises(RunError, match=cause):
            reader.read_json(name)


@pytest.mark.parametrize("how", ["create", "resume"])
def test_a_refused_opening_leaves_the_run_to_others(tmp_path: Path, how: str) -> None:
    RunDirectory.create(tmp_path, CONFIG).close()
    with pytest.raises(RunError):
        getattr(RunDirectory, how)(tmp_path, "seed: 1")
    code = (
        "import sys; from creditree.runs.directory import RunDirectory; RunDirectory.resume(sys.argv[1], sys.argv[2])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path), CONFIG], env=environment, check=True)


HOLDER = """
import multiprocessing, sys, time
from creditree.runs.directory import RunDirectory
from creditree.runs.rollouts import rollout_table
run = RunDirectory.resume(sys.argv[1], "seed: 0")
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
worker.start()
print(worker.pid, flush=True)
time.sleep(60)
"""


def test_two_processes_cannot_write_one_run_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        orphan = int(holder.stdout.readline())
        for open_run in (RunDirectory.create, RunDirectory.resume):
            with pytest.raises(RunError, match=rf"is being written by another process \(id {holder.pid}\); wait"):
                open_run(tmp_path, "seed: 0")
        RunDirectory.read(tmp_path)
        try:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            # The forked worker still lives, and must not keep the run locked.
            os.kill(orphan, 0)
            RunDirectory.resume(tmp_path, "seed: 0").close()
        finally:
            os.kill(orphan, signal.SIGKILL)


ATTEMPT = Attempt("q1", 0, 1.0, "ok", "4", 3, False, text="2+2=4")


def test_measured_completions_are_kept_with_texts_and_read_while_the_run_is_written(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, CONFIG) as run:
        run.measurement("greedy", "base").add([ATTEMPT])
        run.measurement("greedy", "base").add([replace(ATTEMPT, problem_id="q2")])
        run.measurement("T=0.3", "trained").add([ATTEMPT])
        seen = RunDirectory.read(tmp_path)
        assert [one.problem_id for one in seen.attempts("greedy", "base")] == ["q1", "q2"]
        assert seen.attempts("greedy", "base")[0] == ATTEMPT
        with pytest.raises(RunError, match=r"no judged completions in .*greedy/trained; measure there first"):
            seen.attempts("greedy", "trained")
        with pytest.raises(RunError, match="open for reading only"):
            seen.measurement("greedy", "base")
        run.forget_measurement("trained")
        assert not (tmp_path / "measurement" / "T=0.3" / "trained").exists()
        assert len(run.attempts("greedy", "base")) == 2


@pytest.mark.parametrize("sampled", [False, True])
def test_a_failed_start_keeps_the_run_only_where_something_was_measured(tmp_path: Path, sampled: bool) -> None:
    def start() -> None:
        with RunDirectory.create(tmp_path, CONFIG) as run:
            parts = run.measurement("greedy", "base")
            if sampled:
                parts.add([ATTEMPT])
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        start()
    assert (tmp_path / "config.yaml").exists() is sampled
    assert (tmp_path / "measurement").exists() is sampled
