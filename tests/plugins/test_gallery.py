"""The op packages under examples/plugins: each found as if installed, checked, used in a model and drawn.

One of them is really built, installed into a new environment and discovered there. What their ops compute is compared
with other formulas in each package's own tests, which run here, too.
"""

import importlib
import importlib.machinery
import importlib.util
import os
import re
import site
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.core.op import Op
from tinygraph.core.registry import registry
from tinygraph.packages.manifest import Manifest
from tinygraph.testing import check_op, lint_op, mutation_score

GALLERY = Path(__file__).parents[2] / "examples" / "plugins"
PROJECTS = sorted(path.parent for path in GALLERY.glob("*/pyproject.toml"))
TESTS = sorted(GALLERY.glob("*/tests/test_*.py"))
README_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def project_of(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def package_of(folder):
    (package,) = project_of(folder)["entry-points"]["tinygraph.ops"].values()
    return package


def manifest_of(folder):
    text = (folder / package_of(folder) / "tinygraph-ops.json").read_text(encoding="utf-8")
    return Manifest.parse(text, folder.name)


NAMES = [name for folder in PROJECTS for name in manifest_of(folder).ops]


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory):
    """The whole gallery on the path, with the metadata that an installer would write from each pyproject.toml."""
    place = tmp_path_factory.mktemp("installed")
    for folder in PROJECTS:
        project = project_of(folder)
        info = place / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n",
            encoding="utf-8",
        )
        points = project["entry-points"]["tinygraph.ops"].items()
        lines = ["[tinygraph.ops]", *(f"{name} = {package}" for name, package in points)]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    registry._load_builtin()
    path, known, plugins = list(sys.path), registry._snapshot(), registry._plugins
    modules = set(sys.modules)
    sys.path += [str(place), *map(str, PROJECTS)]
    importlib.invalidate_caches()
    registry._plugins = None
    registry.resolved.clear()
    yield
    sys.path[:] = path
    registry._plugins = plugins
    registry._restore(known)
    packages = tuple(map(package_of, PROJECTS))
    for name in set(sys.modules) - modules:
        if name.startswith(packages):
            del sys.modules[name]


def test_there_are_six_or_more():
    assert len(PROJECTS) >= 6


@pytest.mark.parametrize("name", NAMES)
def test_every_law_holds(name):
    assert check_op(name).ok


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_samples_catch_every_known_mistake(name):
    op = registry.find(name)
    if not isinstance(op, Op):
        pytest.skip("a composite has no rules to get wrong")
    assert not [fault for fault in lint_op(op) if fault.severity == "error"]
    score = mutation_score(op)
    assert score.percent == 100, str(score)


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_the_manifest_says_what_the_package_declares(folder):
    declared = [op for op in registry.all_ops() if op.package == package_of(folder)]
    assert {op.name for op in declared} == set(manifest_of(folder).ops)
    assert not [op.name for op in declared if op.numpy_functions]
    assert {op.distribution for op in declared} == {folder.name}
    assert all(op.typed for op in declared if isinstance(op, Op)), "an op lacks a type rule"


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_op_modules_import_numpy_and_the_plugin_interface_alone(folder):
    package = package_of(folder)
    allowed = re.compile(
        rf"(__future__|typing|math|collections\.abc|numpy|tinygraph\.plugin|{package}(\.\w+)?)$"
    )
    for path in (folder / package).glob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert [name for name in imported if not allowed.match(name)] == [], path.name


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem.removeprefix("test_"))
def test_the_package_passes_its_own_tests(path):
    spec = importlib.util.spec_from_file_location(f"gallery_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) > 1
    for test in tests:
        if test.__name__ != "test_every_law_holds":  # which runs above, op by op
            test()


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_the_example_of_the_readme_runs(folder, capsys):
    (block,) = README_BLOCK.findall((folder / "README.md").read_text(encoding="utf-8"))
    exec(compile(block, f"{folder.name}/README.md", "exec"), {})  # noqa: S102 - our own README
    assert capsys.readouterr().out.strip()


class Attention(nn.Module):
    """Attention over a sequence whose positions are known through `rotary` alone."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(4, 2)

    def forward(self, x):
        query, key = tg.ops.rotary(self.query(x)), tg.ops.rotary(self.key(x))
        scores = tg.ops.softmax(query @ np.swapaxes(key, -1, -2) * 8**-0.5, axis=-1)
        return scores @ self.value(x)


@pytest.fixture
def training():
    """A step of training, and its model."""
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    x, target = (rng.normal(size=(3, 5, size)).astype(np.float32) for size in (4, 2))
    model = Attention()
    optimizer = optim.Adam(model.parameters(), lr=0.02)

    def step():
        optimizer.zero_grad()
        loss = ((model(x) - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step, model, x


def test_an_op_of_the_gallery_in_a_model(training):
    step, model, x = training
    first, second = step().item(), step().item()
    assert second < first
    drawn = tg.draw(model, inputs=[x])
    assert "rotary" in drawn.source
    assert drawn.svg().lstrip().startswith(("<?xml", "<svg"))


def test_an_op_of_the_gallery_in_a_compiled_step(training):
    step, model, _ = training
    start = model.state_dict()
    kept = {name: np.array(value) for name, value in start.items()}
    eager = step().item()
    model.load_state_dict(kept)
    np.testing.assert_allclose(tg.compile(step)().item(), eager, rtol=1e-5)


# -- a real installation ---------------------------------------------------------------------------------------------

CLEAN_ROOM = """
import sys
import numpy as np
import tinygraph as tg
from tinygraph.testing import check_op, lint_op, mutation_score

x = tg.tensor(np.ones((2, 4)), requires_grad=True, name="x")
loss = tg.ops.sum(tg.ops.relu(x))
loss.backward()
assert "tinygraph_rotary" not in sys.modules, "a plugin was imported without need"
assert "rotary" in tg.ops and "tinygraph_rotary" not in sys.modules

first = tg.ops.rotary(x)
assert tg.ops.rotary.distribution == "tinygraph-rotary"
assert sys.modules["tinygraph_rotary"].__file__.startswith(sys.prefix), "it is not the installed one"
drawn = tg.draw(np.sum(first * first))
assert "rotary" in drawn.source and "<svg" in drawn.svg()
assert check_op("rotary").ok
print("found, used, drawn, checked")
"""


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory):
    """The interpreter of a new environment that sees this one's packages, and pip of this one to fill it with."""
    room = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(room)], check=True)
    (python,) = [path for path in (room / "bin" / "python", room / "Scripts" / "python.exe") if path.exists()]
    (packages,) = room.glob("[Ll]ib/**/site-packages")
    # An environment made in an environment sees only the outermost interpreter's packages, so ours are added by name.
    ours = [*site.getsitepackages(), str(GALLERY.parents[1]), str(GALLERY.parents[1] / "ops")]
    lines = [f"import site; site.addsitedir({folder!r})" for folder in ours]
    (packages / "surroundings.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return python


def test_a_package_is_built_installed_and_discovered(clean_python, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # not `importlib.util.find_spec`: a finder of setuptools would warn where distutils is imported already
    if importlib.machinery.PathFinder.find_spec("pip") is None:
        pytest.skip("pip is not there to install with")
    isolated = importlib.util.find_spec("hatchling") is None
    command = [sys.executable, "-m", "pip", "--python", str(clean_python), "install", "--no-deps"]
    command += ["--disable-pip-version-check", *([] if isolated else ["--no-build-isolation"])]
    source = tmp_path / "source"  # a build leaves nothing behind in the checkout
    copy_project(GALLERY / "tinygraph-rotary", source)
    built = subprocess.run(
        [*command, str(source)], capture_output=True, text=True, env=environment, timeout=200
    )
    if (
        isolated
        and built.returncode
        and "hatchling" in built.stderr
        and "No matching distribution" in built.stderr
    ):
        pytest.skip("the build backend hatchling is neither installed nor to be had from here")
    assert built.returncode == 0, built.stderr
    used = subprocess.run(
        [str(clean_python), "-W", "error", "-c", CLEAN_ROOM],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=200,
    )
    assert used.returncode == 0, used.stderr
    assert used.stdout.strip() == "found, used, drawn, checked"


def copy_project(folder, target):
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = target / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
