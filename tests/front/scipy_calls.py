"""A call of every function of `tg.scipy`, with what SciPy's own takes; those of scipy.special also of its table."""

from typing import Any

import numpy as np

from tests.front.calls import SYMMETRIC, TALL, UP, A, B, V, W, given

P = np.array([0.37, 0.62, 0.81])
Q = np.array([1.3, 0.7, 2.1])
POSITIVE = SYMMETRIC @ SYMMETRIC

# Functions of scipy.special whose operands are special ones; the others are called on numbers between 0 and 3.
SPECIAL: dict[str, Any] = {
    "expn": (2, P), "kn": (2, Q), "yn": (2, Q), "jn": (2, Q), "lambertw": (P, 0), "softplus": (Q,), "zeta": (Q + 1.1, Q), "sph_harm_y": (2, 1, P, Q),
    "polygamma": (1, Q), "powm1": (Q, P), "hyp2f1": (P, Q, Q + 1, P), "bdtr": (1, 3, P), "bdtrc": (1, 3, P),
    "nbdtr": (1, 3, P), "nbdtrc": (1, 3, P), "pdtr": (2.0, Q), "pdtrc": (2.0, Q), "tklmbda": (P / 3, 0.5),
    "ellipkinc": (P, Q / 4), "ellipeinc": (P, Q / 4), "ndtri_exp": (-Q,), "fdtri": (Q + 1, Q + 2, P), "gdtrix": (Q, Q, P),
    "stdtrit": (Q + 2, P), "chdtri": (Q + 1, P), "gammainc": (Q, P), "gammaincc": (Q, Q), "gammaincinv": (Q, P),
    "gammainccinv": (Q, P), "betainc": (Q, Q + 1, P), "betaincc": (Q, Q + 1, P), "betaincinv": (Q, Q + 1, P),
    "betainccinv": (Q, Q + 1, P), "ellipj": (Q, P), "chndtr": (Q, Q + 1, P), "ncfdtr": (Q + 1, Q + 2, P, Q),
    "nctdtr": (Q + 2, P, Q), "nrdtrimn": (P, Q, Q), "nrdtrisd": (P, P, Q + 1), "kolmogi": (P,), "zetac": (Q + 1.1,),
    "mathieu_a": (2, Q), "mathieu_b": (2, Q), "mathieu_cem": (2, Q, 20 * P), "mathieu_sem": (2, Q, 20 * P), "huber": (Q, np.array([0.4, 1.1, -3.0])), "lpmv": (1, 2, P),
    "eval_jacobi": (3, P, Q, P), "eval_sh_jacobi": (3, 2.2, 0.7, P), "wofz": (P + 0.3j,), "boxcox": (Q, P),
    "inv_boxcox": (Q, P), "inv_boxcox1p": (Q, P), "struve": (P, Q), "modstruve": (P, Q), "poch": (Q, P),
    "voigt_profile": (P, Q, P + 0.2), "logsumexp": (A,), "softmax": (A,), "log_softmax": (A,), "multigammaln": (Q + 2, 2),
    "comb": (Q + 3, Q), "perm": (Q + 3, Q), "factorial": (Q,), "diric": (Q, 5), "sinc": (A,),
    **dict.fromkeys(("spherical_jn", "spherical_yn", "spherical_in", "spherical_kn"), (1, Q)),
    **dict.fromkeys(("jvp", "yvp", "ivp", "kvp", "h1vp", "h2vp"), (1, Q, 2)),
}  # fmt: skip

LINALG: dict[str, Any] = {
    "inv": given(A), "det": given(A), "pinv": given(TALL), "pinvh": given(SYMMETRIC), "solve": given(A, B),
    "solve_triangular": given(A, B, lower=True), "cho_solve": given((np.linalg.cholesky(SYMMETRIC), True), B),
    "cho_factor": given(POSITIVE), "lstsq": given(TALL, V[:3]), "solve_banded": given((1, 1), A, V[:3]),
    "solveh_banded": given(np.array([[0.0, 0.4, 0.2], [2.0, 1.7, 2.6]]), V[:3]), "solve_toeplitz": given(V[:3] + 2, V[:3]),
    "matmul_toeplitz": given((V[:3], W[:3]), V[:3]), "solve_circulant": given(np.array([2.0, 0.3, 0.4]), V[:3]),
    "solve_sylvester": given(A, B, A), "solve_continuous_lyapunov": given(A, B), "solve_lyapunov": given(A, B),
    "solve_discrete_lyapunov": given(A / 4, B), "cholesky": given(SYMMETRIC), "eigh": given(SYMMETRIC),
    "eigvalsh": given(SYMMETRIC), "eigh_tridiagonal": given(V[:3], W[:2]), "eigvalsh_tridiagonal": given(V[:3], W[:2]),
    "eig_banded": given(np.array([[0.0, 0.4, 0.2], [2.0, 1.7, 2.6]])),
    "eigvals_banded": given(np.array([[0.0, 0.4, 0.2], [2.0, 1.7, 2.6]])), "eig": given(A), "eigvals": given(A),
    "svd": given(A), "svdvals": given(A), "qr": given(TALL, mode="economic"), "rq": given(A), "polar": given(A),
    "lu": given(A), "lu_factor": given(A), "lu_solve": given((A, np.array([1, 2, 2])), V[:3]),
    **{name: given(SYMMETRIC) for name in ("expm", "logm", "sqrtm", "signm", "cosm", "sinm", "tanm", "coshm", "sinhm", "tanhm")},
    "expm_frechet": given(A, B), "fractional_matrix_power": given(SYMMETRIC, 0.3), "norm": given(A),
    "block_diag": given(A, TALL), "toeplitz": given(V, W), "hankel": given(V, W), "circulant": given(V), "companion": given(W),
    "convolution_matrix": given(W, 3), "fiedler": given(V), "orthogonal_procrustes": given(A, B), "khatri_rao": given(A, B), "leslie": given(V[:3], W[:2]),
    "subspace_angles": given(TALL, B[:, :1]),
    "fiedler_companion": given(V), "diagsvd": given(V[:3], 4, 3), "qr_multiply": given(A, B),
}  # fmt: skip

SIGNAL: dict[str, Any] = {
    "fftconvolve": given(A, B[:2, :2], "same"), "convolve": given(V, W, "same"), "correlate": given(A, B[:2]),
    "convolve2d": given(A, B[:2, :2], "valid"), "lfilter": given(W[:2], V[:3], V), "detrend": given(A),
}  # fmt: skip

INTEGRATE: dict[str, Any] = {
    "trapezoid": given(A, UP[:3]), "cumulative_trapezoid": given(A, UP[:3], initial=0), "simpson": given(np.stack([W]), W * 0 + np.arange(4.0)),
    "odeint": given(lambda y, t, k: -k * y * (1 + t), V[:2], UP[:3], (W[:2],)),
}  # fmt: skip

STATS: dict[str, Any] = {
    "norm": (V, 0.3, Q[:1]), "uniform": (P, 0.1, 1.5), "expon": (Q, 0.1, 1.5), "gamma": (Q, 1.4, 0.1, 1.5),
    "beta": (P, 1.4, 2.2), "chi2": (Q, 3.0), "t": (V, 3.5, 0.2, 1.3), "f": (Q, 2.5, 3.5), "cauchy": (V, 0.2), "laplace": (V, 0.2),
    "logistic": (V, 0.2), "lognorm": (Q, 0.7), "pareto": (Q + 1, 2.5), "weibull_min": (Q, 1.7), "gumbel_r": (V,), "gumbel_l": (V,),
    "rayleigh": (Q,), "halfnorm": (Q,), "invgamma": (Q, 2.5), "gennorm": (V, 1.7), "vonmises": (V, 1.3),
}  # fmt: skip
DISCRETE: dict[str, Any] = {
    "poisson": (np.arange(4), 1.7), "bernoulli": (np.array([0, 1, 1]), 0.3), "binom": (np.arange(4), 3, 0.3),
    "geom": (np.arange(1, 4), 0.3), "nbinom": (np.arange(3), 4.0, 0.3),
}  # fmt: skip


# Where SciPy's vectors differ in sign, or another triangle holds anything.
UP_TO_SIGN = {"cho_factor", "eigh", "eig_banded", "eig"}
OF_SYMMETRIC = {"pinvh", "cholesky", "cho_factor", "eigh", "eigvalsh"}


def special_call(name: str, function: Any, unknown: tuple[int, ...]) -> tuple[Any, ...]:
    """Operands of a function of scipy.special's table; orders, of which no derivative is known, are plain numbers."""
    if name in SPECIAL:
        return SPECIAL[name]
    if name.startswith("eval_"):
        return (3, *(0.6,) * (function.nin - 2), P)
    return tuple(1.5 if i in unknown else x for i, x in enumerate((P, Q, P + 0.5, Q + 1)[: function.nin]))
