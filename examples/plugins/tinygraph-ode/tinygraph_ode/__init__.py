"""Differentiable initial value problems for tinygraph: importing this package declares the op `quadratic_ode`."""

from tinygraph_ode.quadratic_ode import quadratic_ode as quadratic_ode
