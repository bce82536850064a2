"""Complex numbers: holomorphic gradients, descent, and factorizations of complex matrices, in the one convention."""

import numpy as np
import pytest

import tinygraph as tg
from tests.front.checking import check_derivatives
from tinygraph.errors import CaptureError, DTypeError

Z = np.array([1.0 + 2.0j, -0.5 + 0.3j])


def matrix(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def test_a_holomorphic_function_has_its_complex_derivative_and_that_has_one():
    np.testing.assert_allclose(tg.grad(lambda z: np.sum(z**3), holomorphic=True)(Z), 3 * Z**2)
    value, first = tg.value_and_grad(np.exp, holomorphic=True)(Z[0])
    np.testing.assert_allclose([value, first], np.exp(Z[0]))
    second = tg.grad(tg.grad(lambda z: np.sin(z) / z, holomorphic=True), holomorphic=True)(Z[1])
    z = Z[1]
    np.testing.assert_allclose(
        second, -np.sin(z) / z - 2 * np.cos(z) / z**2 + 2 * np.sin(z) / z**3, rtol=1e-12
    )


def test_a_complex_result_is_refused_unless_it_is_asked_for():
    with pytest.raises(DTypeError, match="holomorphic=True"):
        tg.grad(lambda z: np.sum(z * z))(Z)
    with pytest.raises(DTypeError, match="needs a complex result"):
        tg.grad(lambda z: np.sum(np.abs(z)), holomorphic=True)(Z)
    with pytest.raises(DTypeError, match="real"):
        tg.grad(lambda x: np.sum(x * 1j), holomorphic=True)(np.ones(2))


def test_the_gradient_of_a_real_loss_is_that_of_autograd_and_jax():
    np.testing.assert_allclose(tg.grad(lambda z: np.sum(np.abs(z) ** 2))(Z), 2 * np.conj(Z))
    np.testing.assert_allclose(tg.grad(lambda z: np.sum(np.real(z**2)))(Z), 2 * Z)


@pytest.mark.parametrize(
    ("name", "options"), [("SGD", {"momentum": 0.9}), ("Adam", {}), ("RMSprop", {}), ("Adagrad", {})]
)
def test_optimizers_descend_on_complex_parameters_as_pytorchs_do(name, options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = tg.tensor(Z, requires_grad=True), torch.tensor(Z, requires_grad=True)
    optimizer = getattr(tg.optim, name)([ours], lr=0.02, **options)
    other = getattr(torch.optim, name)([theirs], lr=0.02, **options)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = np.sum(np.abs(ours * ours - (1 + 1j)) ** 2)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        other.zero_grad()
        ((theirs * theirs - (1 + 1j)).abs() ** 2).sum().backward()
        other.step()
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_descends_on_complex_and_real_parameters_together_as_pytorchs_does(search):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    starts = [Z, np.array([[0.5, -1.0]]), np.array(0.3 - 2j)]
    ours = [tg.tensor(one, requires_grad=True) for one in starts]
    theirs = [torch.tensor(one, requires_grad=True) for one in starts]
    options = {"lr": 0.1 if search is None else 1.0, "max_iter": 4, "line_search_fn": search}
    optimizer, other = tg.optim.LBFGS(ours, **options), torch.optim.LBFGS(theirs, **options)

    def loss_of(z, r, w):
        return (abs(z * z - (1 + 1j) * w) ** 2).sum() + (r**2).sum() * abs(w - (2 + 1j)) ** 2 + (r**4).sum()

    def closure(chosen, parameters):
        chosen.zero_grad()
        loss = loss_of(*parameters)
        loss.backward()
        return loss

    losses = []
    for _ in range(4):
        losses.append(optimizer.step(lambda: closure(optimizer, ours)).item())
        wanted = other.step(lambda: closure(other, theirs)).item()
        np.testing.assert_allclose(losses[-1], wanted, rtol=1e-7)
    assert losses[-1] < 0.2 * losses[0]
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.numpy(), two.detach().numpy(), rtol=1e-6)
    again = tg.optim.LBFGS(ours, **options)
    again.load_state_dict(optimizer.state_dict())


def test_a_captured_step_refuses_complex_parameters():
    for name in (
        "SGD",
        "Adam",
        "AdamW",
        "RMSprop",
        "Adagrad",
        "Adadelta",
        "Adamax",
        "NAdam",
        "RAdam",
        "Rprop",
        "ASGD",
    ):
        z = tg.tensor(Z, requires_grad=True)
        optimizer = getattr(tg.optim, name)([z])

        @tg.compile
        def step(z=z, optimizer=optimizer):
            optimizer.zero_grad()
            np.sum(np.abs(z) ** 2).backward()
            optimizer.step()

        with pytest.raises(CaptureError, match="outside of captured programs"):
            step()
        np.testing.assert_array_equal(z.numpy(), Z, err_msg=name)


def rotated(vectors, values):
    """What does not depend on the phases of the vectors."""
    return vectors @ (values[:, None] * np.conj(vectors).T)


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)])
def test_singular_vectors_of_complex_matrices(shape):
    def function(x):
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        return u @ (np.array([1.0, 2.0, -0.5])[:, None] * vh), s, np.linalg.pinv(x)

    check_derivatives(function, (matrix(*shape),), {})


def test_eigenvectors_and_factors_of_complex_matrices():
    def hermitian(x):
        return x @ np.conj(x).T + 3 * np.eye(3)

    def function(x):
        values, vectors = np.linalg.eigh(hermitian(x))
        lower = np.linalg.cholesky(hermitian(x))
        return rotated(vectors, np.sin(values)), values, lower, np.linalg.slogdet(x), np.linalg.inv(x)

    check_derivatives(function, (matrix(3, 3),), {})
    check_derivatives(np.linalg.eig, (matrix(3, 3),), {})
    check_derivatives(np.linalg.qr, (matrix(4, 3),), {})
    check_derivatives(lambda x: np.linalg.qr(x), (matrix(3, 4),), {})


def test_repeated_values_have_gradients_and_their_vectors_have_none():
    x = np.diag([1.0, 1.0, 2.0])
    for values in (np.linalg.eigvalsh, lambda x: np.linalg.eigh(x)[0], lambda x: np.linalg.svd(x)[1]):
        found = tg.grad(lambda x, f=values: np.sum(np.exp(f(x))))(x)
        np.testing.assert_allclose(found, np.diag(np.exp([1.0, 1.0, 2.0])), atol=1e-12)
    for vectors in (lambda x: np.linalg.eigh(x)[1], lambda x: np.linalg.svd(x)[0]):
        assert np.isnan(tg.grad(lambda x, f=vectors: np.sum(f(x) * np.arange(9.0).reshape(3, 3)))(x)).any()
        assert np.isnan(tg.jvp(vectors, (x,), (np.ones((3, 3)),))[1]).any()


def test_determinants_of_singular_matrices_have_two_derivatives():
    x = np.array([[1.0, 2.0, 0.5], [2.0, 4.0, 1.0], [0.25, -1.0, 3.0]])
    check_derivatives(np.linalg.det, (x,), {})
    np.testing.assert_allclose(
        tg.hessian(np.linalg.det)(np.zeros((2, 2))).reshape(4, 4),
        np.eye(4)[::-1] * [1, -1, -1, 1],
        atol=1e-12,
    )


def test_sorting_and_interpolation_at_ties_and_ends():
    ties = np.array([2.0, 1.0, 2.0])
    assert tg.grad(lambda x: np.sum(np.sort(x) * np.array([1.0, 10.0, 100.0])))(ties).tolist() == [
        10.0,
        1.0,
        100.0,
    ]
    assert tg.grad(lambda x: np.median(x))(np.array([3.0, 1.0, 2.0, 4.0])).tolist() == [0.5, 0.0, 0.5, 0.0]
    points, heights = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 3.0])
    slopes = [
        float(tg.grad(lambda x: np.interp(x, points, heights))(np.float64(x)))
        for x in (-1.0, 0.0, 0.5, 1.0, 3.0, 4.0)
    ]
    assert slopes == [0.0, 2.0, 2.0, 0.5, 0.5, 0.0]
    logsumexp = tg.scipy.special.logsumexp
    assert tg.grad(logsumexp)(np.array([-np.inf, 0.0])).tolist() == [0.0, 1.0]
    assert logsumexp(np.array([-np.inf, -np.inf])) == -np.inf
