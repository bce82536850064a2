"""The convolution of the article: three channels of 7x7 in, two out - and how its kernels can learn anything."""

import numpy as np

import tinygraph as tg

rng = np.random.default_rng(0)
ch = tg.tensor(rng.normal(size=(1, 3, 7, 7)), requires_grad=True, name="ch")
ker = tg.tensor(rng.normal(size=(2, 3, 3, 3)), requires_grad=True, name="ker")
bias = tg.tensor(np.zeros(2), requires_grad=True, name="bias")

out = tg.ops.convolution(ch, ker, bias, padding=1)
print("output channels:", out.shape, "- weights:", ker.size, "- biases:", bias.size)

# One neuron by hand: the kernel's centre on ch[3, 3], the nine multiplied couples, summed over the input channels.
couples = ch.numpy()[0, :, 2:5, 2:5] * ker.numpy()[0]
print("out[0,0,3,3] =", out.numpy()[0, 0, 3, 3], "= the sum of its couples:", couples.sum())

# How can it learn? Every kernel element has impacts: the output elements it reaches, each with a local derivative.
# The gradient is the sum of cotangent x local derivative over all of them.
loss = (out**2).sum()
impacts = tg.explain(loss, wrt=ker, element=(1, 0, 2, 2))
print(f"\nker[1,0,2,2] reaches {len(impacts)} output elements")
print(impacts)

loss.backward()
print("sum of contributions:", impacts.total, "- gradient by backward():", ker.grad.numpy()[1, 0, 2, 2])
