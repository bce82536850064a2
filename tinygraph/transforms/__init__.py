"""Function transforms with JAX's names: grad, vjp, jvp, jacobian, hessian, vmap, checkpoint and their kin.

They never touch `.grad`, ignore an outer `no_grad`, and nest to any order: each differentiates with respect to fresh
copies of its primals, so derivatives of different levels cannot be confused.
"""

from tinygraph.transforms.checkpointing import checkpoint as checkpoint
from tinygraph.transforms.custom_rules import custom_jvp as custom_jvp
from tinygraph.transforms.custom_rules import custom_vjp as custom_vjp
from tinygraph.transforms.forward import jvp as jvp
from tinygraph.transforms.forward import linearize as linearize
from tinygraph.transforms.forward import stop_gradient as stop_gradient
from tinygraph.transforms.jacobians import hessian as hessian
from tinygraph.transforms.jacobians import hvp as hvp
from tinygraph.transforms.jacobians import jacfwd as jacfwd
from tinygraph.transforms.jacobians import jacobian as jacobian
from tinygraph.transforms.jacobians import jacrev as jacrev
from tinygraph.transforms.loops import cond as cond
from tinygraph.transforms.loops import fori_loop as fori_loop
from tinygraph.transforms.loops import map as map
from tinygraph.transforms.loops import scan as scan
from tinygraph.transforms.loops import switch as switch
from tinygraph.transforms.loops import while_loop as while_loop
from tinygraph.transforms.reverse import elementwise_grad as elementwise_grad
from tinygraph.transforms.reverse import grad as grad
from tinygraph.transforms.reverse import value_and_grad as value_and_grad
from tinygraph.transforms.reverse import vjp as vjp
from tinygraph.transforms.vmapping import vmap as vmap
