"""Derivatives of special functions by orders, shapes and degrees of freedom, against mpmath's (50 digits, stored)."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import NumpyFunctionError, SettingError

pytest.importorskip("scipy", reason="SciPy is not installed")

# Function, operands, which operand, the first and the second derivative.
SLOPES = (
    ("gammainc", (2.3, 1.7), 0, -0.2870951062547779, 0.09456923646638356),
    ("gammainc", (50.0, 60.0), 0, -0.02128499278634949, -0.0038864838466261134),
    ("gammaincc", (0.4, 0.3), 0, 0.8294227193830437, -0.543793386732849),
    ("betainc", (1.5, 2.2, 0.3), 0, -0.29921584706182724, 0.19518932672684824),
    ("betainc", (1.5, 2.2, 0.3), 1, 0.15902518723791226, -0.025158117695224858),
    ("chdtr", (3.5, 0.7), 0, -0.07623712030560582, 0.06503648702133966),
    ("stdtr", (3.5, 0.7), 0, 0.00581144760854367, -0.0030647436930664605),
    ("jv", (1.0, 2.2), 0, 0.05250168073421138, -0.6636209346802941),
    ("yv", (2.0, 2.2), 0, -0.40400408148178396, 0.15086666453778746),
    ("iv", (3.5, 2.2), 0, -0.2106115568160092, 0.24907766422851224),
    ("kv", (0.3, 2.2), 0, 0.010394540873542506, 0.03573712658733763),
    ("hyp1f1", (0.5, 1.2, 0.7), 0, 0.8149493827656578, 0.2606757630196307),
    ("hyp1f1", (0.5, 1.2, 0.7), 1, -0.35691351350096406, 0.6379494768640313),
    ("hyp2f1", (0.5, 1.2, 1.7, 0.4), 0, 0.4210197256031223, 0.17369355123279825),
    ("hyp2f1", (0.5, 1.2, 1.7, 0.4), 2, -0.13546884062705836, 0.1804552647477526),
    ("zeta", (2.5, 1.3), 0, -0.47957898956572315, 0.594144714962124),
    ("agm", (1.3, 0.4), 0, 0.38474744125581256, -0.05969170432490607),
    ("elliprf", (0.4, 1.3, 2.2), 1, -0.12781115637435533, 0.09200160427514643),
    ("elliprj", (0.4, 1.3, 2.2, 0.9), 3, -0.6252564947702646, 0.9847709630114527),
)  # fmt: skip


@pytest.mark.parametrize(("name", "args", "i", "first", "second"), SLOPES)
def test_slopes_by_parameters_are_mpmaths(name, args, i, first, second):
    def by(x):
        return getattr(tg.scipy.special, name)(*args[:i], x, *args[i + 1 :])

    x = np.float64(args[i])
    np.testing.assert_allclose(tg.grad(by)(x), first, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(tg.jvp(by, (x,), (1.0,))[1], first, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(tg.grad(tg.grad(by))(x), second, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(tg.compile(tg.grad(by))(x), first, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(tg.vmap(tg.grad(by))(np.full(3, x)), first, rtol=1e-11, atol=1e-14)


def test_mixed_derivatives_agree_in_both_orders():
    gammainc = tg.scipy.special.gammainc
    one = tg.grad(lambda x: tg.grad(lambda a: gammainc(a, x))(np.float64(2.3)))(np.float64(1.7))
    other = tg.grad(lambda a: tg.grad(lambda x: gammainc(a, x))(np.float64(1.7)))(np.float64(2.3))
    np.testing.assert_allclose([one, other], -0.021664645539540, rtol=1e-12)


def test_single_precision_and_broadcasting():
    def total(a, x):
        return np.sum(tg.scipy.special.gammainc(a, x))

    a, x = np.array([[0.7], [2.1]], np.float32), np.array([0.3, 1.0, 4.0], np.float32)
    by_a, by_x = tg.grad(total, argnums=(0, 1))(a, x)
    wide = tg.grad(total, argnums=(0, 1))(a.astype(float), x.astype(float))
    assert (by_a.dtype, by_x.dtype, by_a.shape, by_x.shape) == (np.float32, np.float32, (2, 1), (3,))
    np.testing.assert_allclose(by_a, wide[0], rtol=1e-5)
    np.testing.assert_allclose(by_x, wide[1], rtol=1e-5)
    assert tg.grad(total)(np.zeros((0, 1)), x).shape == (0, 1)


def test_where_there_is_none_it_is_refused():
    with pytest.raises(NumpyFunctionError, match="operand number 1"):
        tg.scipy.special.expn(tg.tensor(2.0, requires_grad=True), 1.0)
    with pytest.raises(SettingError, match="operand number 1"):
        tg.ops.special_slope(1.0, function="erf", operand=0, order=1)
