"""Function transforms with JAX's names: grad, value_and_grad, vjp, jvp, jacobian, hessian, checkpoint.

They never touch `.grad`, ignore an outer `no_grad`, and nest to any order: each differentiates with respect to fresh
copies of its primals, so derivatives of different levels cannot be confused.
"""

from tinygraph.transforms.checkpointing import checkpoint as checkpoint
from tinygraph.transforms.control_flow import cond as cond
from tinygraph.transforms.control_flow import fori_loop as fori_loop
from tinygraph.transforms.control_flow import map as map
from tinygraph.transforms.control_flow import scan as scan
from tinygraph.transforms.control_flow import switch as switch
from tinygraph.transforms.control_flow import while_loop as while_loop
from tinygraph.transforms.forward import hessian as hessian
from tinygraph.transforms.forward import jacobian as jacobian
from tinygraph.transforms.forward import jvp as jvp
from tinygraph.transforms.reverse import grad as grad
from tinygraph.transforms.reverse import value_and_grad as value_and_grad
from tinygraph.transforms.reverse import vjp as vjp
