"""What functions of autograd, JAX and MyGrad are called here, for those who ask `tg` for them by their names there."""

FUNCTIONS = {
    # JAX
    "jit": "tg.compile",
    "pmap": "tg.vmap, or tg.parallel for several processes",
    "tree_map": "tg.tree.map",
    "tree_util": "tg.tree",
    "ravel_pytree": "tg.tree.ravel",
    "eval_shape": "tg.capture",
    "make_jaxpr": "tg.capture",
    "remat": "tg.checkpoint",
    "lax": "tg.scan, tg.cond, tg.while_loop and their kin",
    # autograd
    "make_vjp": "tg.vjp",
    "make_jvp": "tg.jvp",
    "make_hvp": "tg.hvp",
    "make_ggnvp": "tg.jvp of tg.vjp",
    "hessian_vector_product": "tg.hvp",
    "hessian_tensor_product": "tg.hvp",
    "vector_jacobian_product": "tg.vjp",
    "tensor_jacobian_product": "tg.vjp",
    "jacobian_vector_product": "tg.jvp",
    "holomorphic_grad": "tg.grad(f, holomorphic=True)",
    "multigrad_dict": "tg.grad(f, argnums=(...))",
    "grad_and_aux": "tg.value_and_grad(f, has_aux=True)",
    "grad_named": "tg.grad(f, argnums='name')",
    "deriv": "tg.elementwise_grad",
    "primitive": "tg.plugin.op, or tg.custom_vjp",
    "defvjp": "tg.custom_vjp",
    "defjvp": "tg.custom_jvp",
    "check_grads": "tg.testing.check_grads",
    # MyGrad
    "no_autodiff": "tg.no_grad",
    "mem_guard_off": "no more needed: a write that would spoil a backward pass is found",
    "astensor": "tg.tensor",
    "asarray": "np.asarray(tensor.detach())",
    "save": "tg.save_state",
}
