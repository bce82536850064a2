"""Every example runs, as a user would run it, in a folder of its own and without a word on standard error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))

# What a reader should find in the output of each.
EXPECTED = {
    "01_first_gradient": "dz/dx = y + 2x = 1.0",
    "02_convolution": "reaches 36 output elements",
    "03_patients_and_house": "['43/100', '1', '13/10']",
    "04_an_op_of_ones_own": "every law holds",
    "05_a_model_as_a_graph": "computes the same: True",
    "06_digits": "test accuracy",
    "07_residual_network": "accuracy on these pictures 100%",
    "08_character_transformer": "how can the con",
    "09_model_file": "the picture computes what the model does: True",
    "10_randomly_wired": "from networkx it computes the same: True",
    "11_gaussian_process": "the posterior mean follows the sine: True",
    "12_black_box_variational_inference": "they are those of the density: True",
    "13_hamiltonian": "the slope there is zero: True",
    "14_an_ode_by_its_adjoint": "they are the true ones: True",
    "15_optics": "at least three times as much: True",
    "16_newton": "converged quadratically: True",
    "17_images_on_several_processes": "trained for 1 epochs",
    "18_gpt_on_several_processes": "trained for 1 epochs",
}


def test_every_example_is_tested():
    assert [path.stem for path in EXAMPLES] == sorted(EXPECTED)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, tmp_path):
    if "from scipy" in example.read_text(encoding="utf-8"):
        pytest.importorskip("scipy", reason="SciPy is not installed")
    if "TensorBoardLog(RUN)]" in example.read_text(encoding="utf-8"):
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "ops"), os.environ.get("PYTHONPATH", "")])
    few = {"EPOCHS": "1", "STEPS": "30", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": paths}
    run = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=tmp_path,
        env=os.environ | few,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert EXPECTED[example.stem] in run.stdout
    assert not run.stderr
