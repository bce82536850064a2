"""The pages for those who come from elsewhere are as their table makes them, and every name of ours is there."""

import runpy
from pathlib import Path

import tinygraph as tg

DOCS = Path(__file__).parents[2] / "docs"
MAKER = runpy.run_path(str(DOCS / "make_coming_from.py"))


def test_the_pages_are_as_they_are_made():
    for name in MAKER["PAGES"]:
        assert (DOCS / f"coming_from_{name}.md").read_text(encoding="utf-8") == MAKER["page"](name), (
            "python docs/renew.py coming"
        )


def test_every_name_of_ours_is_there():
    for *_, ours, _ in MAKER["ROWS"]:
        found = tg
        for part in ours.split(".")[1:] if ours.startswith("tg.") else ():
            found = getattr(found, part)
        assert found is not tg or ours == "import numpy as np", ours


def test_a_program_of_autograds_runs_with_its_imports_changed():
    import numpy as np

    def tanh(x):
        y = np.exp(-2.0 * x)
        return (1.0 - y) / (1.0 + y)

    first = tg.elementwise_grad(tanh)
    second = tg.elementwise_grad(first)
    x = np.linspace(-2, 2, 5)
    np.testing.assert_allclose(first(x), 1 - np.tanh(x) ** 2, rtol=1e-12)
    np.testing.assert_allclose(second(x), -2 * np.tanh(x) * (1 - np.tanh(x) ** 2), rtol=1e-11, atol=1e-15)
