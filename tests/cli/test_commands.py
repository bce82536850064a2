"""The `tinygraph` command: its commands, exit codes, messages and configuration. The report has a file of its own."""

from __future__ import annotations

import gzip
import subprocess
import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.cli import main, terminal


@pytest.fixture
def run(capsys, monkeypatch):
    """Call the command in this process; returns (exit code, what it printed, its errors)."""
    monkeypatch.setattr(terminal.console, "_width", 200)

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


@pytest.fixture
def archive(tmp_path):
    """Thirty 6x6 images of two classes: bright on the left or on the right."""
    labels = np.arange(30) % 2
    images = np.random.default_rng(0).integers(0, 60, (30, 6, 6)).astype(np.uint8)
    images[labels == 0, :, :3] += 150
    images[labels == 1, :, 3:] += 150
    path = tmp_path / "sides.npz"
    np.savez(path, x=images, y=labels)
    return path


def idx(array):
    return (
        bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()
    )


def test_train_takes_words_and_the_names_of_keras(run, archive, tmp_path):
    held = np.load(archive)
    words = np.array(["left", "right"])[held["y"]]
    np.savez(
        tmp_path / "keras.npz",
        x_train=held["x"][:20], y_train=words[:20], x_test=held["x"][20:], y_test=words[20:],
    )  # fmt: skip
    status, out, err = run("train", tmp_path / "keras.npz", "--out", tmp_path / "r", "--epochs", 1)
    assert (status, err) == (0, "")
    assert "20 images" in out or "left" in out, out


@pytest.fixture
def idx_folder(archive, tmp_path):
    """The same images as MNIST's four files, some of them compressed."""
    folder = tmp_path / "idx"
    folder.mkdir()
    held = np.load(archive)
    images, labels = held["x"], held["y"].astype(np.uint8)
    for part, chosen in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[chosen])))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels[chosen]))
    return folder


def test_version_and_help(run):
    code, out, _ = run("--version")
    assert code == 0
    assert out.strip()
    code, out, _ = run("--help")
    assert code == 0
    assert all(word in out for word in ("demo", "train", "draw", "ops", "--traceback"))


@pytest.mark.parametrize(
    "wrong", [["nonsense"], ["demo", "--epochs", "none"], ["demo", "--epochs", "0"], ["draw"]]
)
def test_wrong_usage_exits_with_2_or_1_and_says_why(run, wrong):
    code, _, err = run(*wrong)
    assert code in (1, 2)
    assert "Traceback" not in err
    assert "Error" in err


def test_importing_the_command_line_loads_nothing_heavy():
    heavy = "('numpy.random', 'sklearn', 'matplotlib', 'networkx', 'graphviz', 'tinygraph.nn', 'tinygraph.training')"
    code = f"import sys, tinygraph.cli; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(eval_list(out.stdout)) <= {"numpy.random"}  # NumPy loads it by itself in some versions


def eval_list(text):
    return [word.strip("' ") for word in text.strip("[]\n ").split(",") if word.strip()]


# -- ops ---------------------------------------------------------------------------------------------------------------


def test_ops_list_shows_every_op(run):
    code, out, _ = run("ops", "list")
    assert code == 0
    assert f"{len(list(tg.ops))} ops" in out
    assert "convolution" in out
    _, out, _ = run("ops", "list", "--kind", "convolution")
    assert "convolution" in out
    assert "tanh" not in out
    assert "no op fits" in run("ops", "list", "--kind", "nonsense")[1]


def test_ops_show_tells_formula_rules_and_samples(run):
    code, out, _ = run("ops", "show", "tanh")
    assert code == 0
    for words in ("d/dx", "operand x", "keeps out", "np.tanh", "Sample(", "tinygraph_ops"):
        assert words in out
    assert "any number" in run("ops", "show", "concatenate")[1]


def test_unknown_op_is_one_message_with_a_suggestion(run):
    code, _, err = run("ops", "show", "tanhh")
    assert code == 1
    assert err.startswith("error: ")
    assert "tanh" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["view", "nothere.onnx"], "there is no file or folder 'nothere.onnx'"),
        (["predict", "nothere.safetensors", "x.npy"], "there is no file or folder 'nothere.safetensors'"),
        (["draw", "."], "'.' is a folder, not a file"),
    ],
)
def test_files_that_cannot_be_read_are_named_in_plain_words(run, command, words):
    status, _, err = run(*command)
    assert status == 1
    assert err == f"error: {words}\n"


def test_traceback_on_request(monkeypatch):
    from tinygraph.errors import UnknownOpError

    with pytest.raises(UnknownOpError):
        main(["ops", "show", "tanhh", "--traceback"])
    monkeypatch.setenv("TINYGRAPH_TRACEBACK", "1")
    with pytest.raises(UnknownOpError):
        main(["ops", "show", "tanhh"])


def test_ops_check_holds_an_op_to_its_laws(run):
    code, out, _ = run("ops", "check", "sinh")
    assert code == 0
    assert "first derivatives" in out


def test_ops_check_of_a_wrong_op_fails(run):
    from tinygraph.core.registry import registry
    from tinygraph.plugin import Sample, op

    @op(kind="elementwise", samples=[Sample([0.3, 0.7])])
    def wrong_cube(x):
        """x³;  d/dx = 3x²."""
        return x * x * x

    @wrong_cube.vjp("x")
    def wrong_cube_wrt_x(g, x):
        return g * x

    try:
        code, out, _ = run("ops", "check", "wrong_cube")
    finally:
        registry._claims.pop("wrong_cube")
        registry.resolved.pop("wrong_cube", None)
    assert code == 1
    assert "wrong_cube" in out


# -- train -------------------------------------------------------------------------------------------------------------


def test_train_on_an_archive(run, archive, tmp_path):
    code, out, err = run("train", archive, "--epochs", 8, "--batch-size", 4, "--out", tmp_path / "report")
    assert code == 0, err
    assert "\ntest accuracy 100.0 %\n" in out
    assert (tmp_path / "report" / "index.html").is_file()


def test_train_on_a_folder_of_idx_files(run, idx_folder, tmp_path):
    code, out, err = run("train", idx_folder, "--epochs", 1, "--out", tmp_path / "report")
    assert code == 0, err
    assert "Testing on 10 images" in out
    assert "\ntest accuracy " in out


def test_options_from_a_toml_file_give_way_to_flags(run, archive, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text("[train]\nepochs = 2\nbatch-size = 5\n")
    out = ["--out", tmp_path / "report", "--config", config]
    assert "epoch 2/2" in run("train", archive, *out)[1]
    printed = run("train", archive, *out, "--epochs", 1)[1]
    assert "epoch 1/1" in printed
    assert "epoch 1/2" not in printed


def test_configuration_that_is_missing_broken_or_unknown(run, archive, tmp_path):
    broken, unknown = tmp_path / "broken.toml", tmp_path / "unknown.toml"
    broken.write_text("[train\n")
    unknown.write_text("[train]\nepoks = 3\n")
    for config in (tmp_path / "missing.toml", broken, unknown):
        code, _, err = run("train", archive, "--config", config, "--out", tmp_path / "report")
        assert code in (1, 2)
        assert err
        assert "Traceback" not in err


def damaged(archive, folder):
    """What users bring along: name of the fault -> (path, words the message must hold)."""
    whole = archive.read_bytes()
    images, labels = np.load(archive)["x"], np.load(archive)["y"]

    def saved(name, **arrays):
        np.savez(folder / name, **arrays)
        return folder / name

    def written(name, content):
        (folder / name).write_bytes(content)
        return folder / name

    nan = images.astype(np.float32)
    nan[3, 0, 0] = np.nan
    return {
        "truncated": (written("cut.npz", whole[: len(whole) // 2]), "cut.npz"),
        "no archive": (written("text.npz", b"hello"), "text.npz"),
        "missing file": (folder / "none.npz", "none.npz"),
        "missing array": (saved("names.npz", x=images, labels=labels), "'y'"),
        "nan": (saved("nan.npz", x=nan, y=labels), "finite"),
        "lengths": (saved("lengths.npz", x=images, y=labels[:-1]), "30"),
        "flat": (saved("flat.npz", x=images.reshape(30, 36), y=labels), "(30, 36)"),
        "channels last": (saved("last.npz", x=np.repeat(images[..., None], 3, 3), y=labels), "channels"),
        "one class": (saved("one.npz", x=images, y=labels * 0), "class"),
        "rare class": (saved("rare.npz", x=images, y=np.arange(30) // 29), "1 image"),
        "fractions": (saved("fractions.npz", x=images, y=labels + 0.5), "fractions"),
        "blank": (saved("blank.npz", x=images * 0.0, y=labels), "nothing to learn"),
        "empty": (saved("empty.npz", x=images[:0], y=labels[:0]), ""),
    }


FAULTS = [
    "truncated", "no archive", "missing file", "missing array", "nan", "lengths", "flat", "channels last", "one class",
    "rare class", "fractions", "blank", "empty",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_unusable_data_is_one_clear_message(run, archive, tmp_path, fault):
    path, words = damaged(archive, tmp_path)[fault]
    code, _, err = run("train", path, "--out", tmp_path / "report", "--epochs", 1)
    assert code == 1
    assert err.startswith("error: ")
    assert words in err
    assert "Traceback" not in err


def test_truncated_idx_file(run, idx_folder, tmp_path):
    labels = idx_folder / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-3])
    code, _, err = run("train", idx_folder, "--out", tmp_path / "report")
    assert code == 1
    assert "truncated" in err


@pytest.mark.parametrize("command", ["demo", "train"])
def test_a_folder_that_cannot_be_written_is_reported_before_training(run, archive, tmp_path, command):
    (tmp_path / "file").write_text("")
    arguments = ["demo"] if command == "demo" else ["train", archive]
    code, out, err = run(*arguments, "--out", tmp_path / "file" / "report")
    assert code == 1
    assert err.startswith("error: ")
    assert "--out" in err
    assert "Training" not in out


def test_interrupted_before_the_first_epoch_is_over(run, archive, tmp_path, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygraph.cli.experiment.fit", interrupted)
    code, _, err = run("train", archive, "--out", tmp_path / "report")
    assert code == 130
    assert "interrupted" in err
