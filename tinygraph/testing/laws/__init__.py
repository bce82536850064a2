"""The laws that every op obeys, in the order in which they are checked.

A law about a fault comes before the laws that the same fault would also break, so that the first one names it best.
"""

from tinygraph.testing.law import Law
from tinygraph.testing.laws import arrays, batches, derivatives, graphs, kernels, kinks, values

LAWS: tuple[Law, ...] = (
    # what an op computes
    values.literal_values,
    values.inputs_unchanged,
    values.repeatable,
    values.type_rule,
    values.settings_as_data,
    values.error_samples,
    values.numpy_twin,
    # its derivatives
    derivatives.rules_present,
    derivatives.rule_shapes,
    derivatives.first_derivatives,
    kinks.between_the_slopes,
    derivatives.linear_in_g,
    derivatives.closed,
    derivatives.second_derivatives,
    derivatives.forward_mode,
    derivatives.derivatives_of_tangents,
    derivatives.several_outputs,
    derivatives.declared_linear,
    derivatives.declared_nondifferentiable,
    # the arrays it must take
    arrays.broadcasting,
    arrays.single_precision,
    arrays.zero_size,
    arrays.zero_dimensions,
    arrays.memory_layout,
    # its life in a graph
    graphs.captured,
    batches.vmap_equals_the_loop,
    kernels.own_kernel,
    kernels.own_emission,
    graphs.keeps_what_rules_ask_for,
    graphs.asks_for_the_least,
    graphs.prints,
    graphs.draws,
    graphs.survives_a_file,
)
