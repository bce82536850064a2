"""A first gradient: scalars, a graph, and the chain rule done for you."""

import tinygraph as tg

x = tg.tensor(2.0, requires_grad=True, name="x")
y = tg.tensor(-3.0, requires_grad=True, name="y")

# Writing the expression records it.
z = x * y + x**2
z.name = "z"
z.backward()

print(f"z = x*y + x**2 = {z.item()}")
print(f"dz/dx = y + 2x = {x.grad.item()}")
print(f"dz/dy = x      = {y.grad.item()}")

# What was recorded can be listed ...
print(tg.graph_of(z).summary())

# ... and drawn: tg.draw(z, "expression.svg")

# The same without tensors: transforms take and return plain numbers.
print("second derivative:", tg.grad(tg.grad(lambda x: x * -3.0 + x**2))(2.0))
