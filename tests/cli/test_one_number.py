"""The story of one number: what is followed is true, and the page shows it, computes it again and answers hands."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tinygraph.cli.one_number.following import Followed, convolved, follow, met
from tinygraph.cli.one_number.page import page
from tinygraph.cli.task import make_task


@pytest.fixture(scope="module")
def followed() -> Followed:
    """A number followed through 60 steps on stripes, upright and lying."""
    random = np.random.default_rng(0)
    images = random.random((90, 8, 8)) * 0.3
    labels = np.arange(90) % 3
    for image, label in zip(images, labels, strict=True):
        if label == 1:
            image[:, random.integers(0, 8)] = 1
        elif label == 2:
            image[random.integers(0, 8)] = 1
    return follow(make_task("stripes", images, np.array(["none", "upright", "<lying>"])[labels], test=0.2), 0)


def test_what_is_followed_is_a_descent_by_hand(followed):
    steps = followed.steps
    assert steps[0] == 0
    assert steps[-1] == len(followed.losses) - 1
    assert len(followed.path) == len(followed.losses) + 1
    channel = followed.element[0]
    for kept, step in enumerate(steps):
        image = followed.images[kept]
        contributions = met(image, followed.element[2:]) * followed.cotangents[kept]
        np.testing.assert_allclose(contributions.sum(), followed.gradients[kept], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(
            followed.path[step + 1], followed.path[step] - followed.rate * followed.gradients[kept], atol=1e-6
        )
        weight, bias = (
            followed.parameters["weight"][kept, channel, 0],
            followed.parameters["bias"][kept, channel],
        )
        assert followed.parameters["weight"][kept][followed.element] == followed.path[step]
        blocked = convolved(image, weight, bias) < -1e-6
        assert not followed.cotangents[kept][blocked].any()  # behind a ReLU
    # 7 x 7 places of 8 x 8: at the others the corner of the kernel lies beyond the border
    assert np.count_nonzero(met(np.ones((8, 8)), followed.element[2:])) == 49
    assert followed.losses[-15:].mean() < followed.losses[:15].mean()


def number(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("phone", [False, True])
def test_the_page_says_what_was_computed(followed, browser, tmp_path, phone):
    path = tmp_path / "story.html"
    path.write_text(
        page(followed, subject="stripes", links={"zoom": "zoom.html"}, version="0"), encoding="utf-8"
    )
    errors: list[str] = []
    context = browser.new_context(
        viewport={"width": 390 if phone else 1200, "height": 800}, color_scheme="dark" if phone else "light"
    )
    view = context.new_page()
    view.on("pageerror", lambda error: errors.append(str(error)))
    view.on("request", lambda request: request.url.startswith("file:") or errors.append(request.url))
    view.goto(path.as_uri())
    for kept in (0, 7, len(followed.steps) - 1):
        view.evaluate(
            "k => { const s = document.getElementById('step'); s.value = k; s.dispatchEvent(new Event('input')); }",
            kept,
        )
        step = followed.steps[kept]
        assert f"step {step + 1}" in view.inner_text("#now")
        assert followed.classes[followed.labels[kept]] in view.inner_text("#now")
        assert number(view.inner_text("#total")) == pytest.approx(followed.gradients[kept], abs=6e-5)
        assert number(view.inner_text("#arrived")) == pytest.approx(followed.path[step + 1], abs=6e-5)
        assert number(view.inner_text("#measured")) == pytest.approx(followed.losses[step], abs=6e-5)
    assert view.inner_text("#places") == "49 of 64"
    view.evaluate(
        "() => { const s = document.getElementById('delta'); s.value = 0.04; s.dispatchEvent(new Event('input')); }"
    )
    predicted, measured = (number(view.inner_text(one)) for one in ("#predicted", "#measured"))
    assert predicted == pytest.approx(followed.losses[-1] + 0.04 * followed.gradients[-1], abs=1e-4)
    assert measured == pytest.approx(predicted, abs=2e-3)
    view.focus("#output")
    for key in ["ArrowUp"] * 8 + ["ArrowLeft"] * 8 + ["ArrowDown", "ArrowRight"]:
        view.keyboard.press(key)
    channel, last = followed.element[0], -1
    made = convolved(
        followed.images[-1],
        followed.parameters["weight"][last - 1, channel, 0],
        followed.parameters["bias"][last - 1, channel],
    )[1, 1]
    assert number(view.inner_text("#made")) == pytest.approx(made, abs=6e-4)
    view.hover("#products i:nth-child(6)")
    assert (
        view.locator(
            "#patch i:nth-child(6).on, #kernel2 i:nth-child(6).on, #products i:nth-child(6).on"
        ).count()
        == 3
    )
    view.focus("#step")
    view.keyboard.press("Home")
    assert "step 1 " in view.inner_text("#now")
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert errors == []
    context.close()


def test_the_film_has_a_frame_for_each_step(followed):
    if importlib.util.find_spec("PIL") is None:
        pytest.skip("Pillow draws it (the extra `movies`)")
    import io

    from PIL import Image

    from tinygraph.cli.one_number.film import film

    opened = Image.open(io.BytesIO(film(followed)))
    assert opened.n_frames == len(followed.steps)
    assert opened.size == (960, 540)
