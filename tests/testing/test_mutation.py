"""The mutation score: known-wrong rules are planted in copies, caught by laws, and the gaps they show can be closed."""

import io

import numpy as np
import pytest
from rich.console import Console

from tinygraph.core.op import Op
from tinygraph.core.registry import registry
from tinygraph.errors import SettingError
from tinygraph.plugin import Sample, op, ops
from tinygraph.testing import LAWS
from tinygraph.testing.mutants import mutants_of
from tinygraph.testing.mutation import mutation_score

LAW_NAMES = {law.name for law in LAWS}


def differentiable_ops():
    found = [one for one in registry.all_ops() if isinstance(one, Op) and one.rules and one.samples]
    return [one for one in found if one.package == "tinygraph_ops"]


def weighted(*samples):
    """x exp(s x), which has a setting, a product and a sum to get wrong."""

    @op(kind="elementwise", samples=samples, declare=False)
    def growth(x, *, s=1.0):
        """x exp(s x);  d/dx = exp(s x) + s x exp(s x)."""
        return x * np.exp(s * x)

    @growth.vjp("x")
    def growth_wrt_x(g, x, s):
        grown = ops.exp(s * x)
        return g * (grown + s * x * grown)

    return growth


GOOD = (Sample([0.5, -1.0, 0.3], expected=[0.5 * np.exp(0.5), -np.exp(-1.0), 0.3 * np.exp(0.3)]),
        Sample([[0.5, -1.0, 0.3], [0.2, 0.7, -0.4]], s=2.0))  # fmt: skip


def test_a_well_sampled_op_scores_100():
    score = mutation_score(weighted(*GOOD))
    assert score.percent == 100
    assert not score.survivors
    assert not score.broken
    assert {verdict.law for verdict in score.killed} <= LAW_NAMES
    assert score.line == f"mutation score 100 % ({len(score.killed)} of {len(score.killed)})"
    assert str(score) == f"op growth: {score.line}"


def test_a_setting_that_no_sample_sets_survives():
    missed = [one for one in mutation_score(weighted(GOOD[0])).survivors if one.mutant.setting]
    (forgotten,) = [one for one in missed if one.mutant.after == "its default 1.0"]
    assert forgotten.mutant.kind == "wrong setting"
    assert forgotten.mutant.setting == "s"
    assert forgotten.reason == "no sample sets 's' to something that matters here: add one that does"
    assert mutation_score(weighted(*GOOD)).percent == 100


def test_a_survivor_comes_with_a_sample_that_was_tried_and_catches_it():
    weak = mutation_score(weighted(Sample([0.5])))
    shown = [one for one in weak.survivors if one.suggestion is not None]
    assert shown
    assert all(f"{one.suggestion!r} would catch it" in one.reason for one in shown)
    better = mutation_score(weighted(Sample([0.5]), *(one.suggestion for one in shown)))
    assert better.percent > weak.percent
    caught = {str(one.mutant) for one in better.killed}
    assert all(str(one.mutant) in caught for one in shown)


def test_the_registry_keeps_its_own_op():
    sin = registry.find("sin")
    rules, known = dict(sin.rules), dict(sin.known_rules)
    before = ops.sin(np.array([0.3]))
    assert mutation_score("sin").percent == 100
    assert registry.find("sin") is sin
    assert sin.rules == rules
    assert {key: live for key, live in sin.known_rules.items() if key in known} == known
    np.testing.assert_array_equal(ops.sin(np.array([0.3])), before)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("dropped term", "tanh"),
        ("wrong sign", "cos"),
        ("swapped operand", "divide"),
        ("transposed operand", "matmul"),
        ("rule that sums already", "add"),
        ("gradient not spread", "sum"),
        ("wrong axis", "cumsum"),
        ("off-by-one padding", "convolution"),
        ("first group only", "convolution"),
        ("stale saved value", "exp"),
        ("missing factor", "multiply"),
        ("constant instead of variable", "power"),
        ("wrong setting", "softmax"),
        ("missing conjugate", "abs"),
        ("wrong branch", "where"),
        ("wrong comparison", "relu"),
    ],
)
def test_every_kind_of_mistake_is_planted(kind, name):
    assert kind in {mutant.kind for mutant in mutants_of(registry.find(name))}


def test_a_mutant_tells_what_it_changes_and_where():
    (mutant,) = [one for one in mutants_of(registry.find("sinh")) if one.kind == "wrong function"]
    assert str(mutant).startswith("wrong function: return g * ops.cosh(x) → return g * ops.sinh(x)")
    assert mutant.place.startswith("trigonometric.py:")
    with open(mutant.file, encoding="utf-8") as file:
        assert "g * ops.cosh(x)" in file.read().splitlines()[mutant.line - 1]


def test_closures_helpers_and_lambdas_can_be_wrong_too():
    factor = 3.0

    @op(kind="elementwise", samples=[Sample([[0.5, -1.0, 2.0], [1.5, 0.2, -0.7]])], declare=False)
    def triple(x):
        """3 x²."""
        return factor * x * x

    @triple.vjp("x")
    def triple_wrt_x(g, x):
        return g * doubled(factor * x)

    score = mutation_score(triple)
    assert score.percent == 100
    assert any("return 2 * x" in one.mutant.before for one in score.killed)

    unnamed = weighted(*GOOD)
    unnamed.rules.clear()
    unnamed.vjp("x")(lambda g, x, s: g * (1 + s * x) * ops.exp(s * x))
    assert mutation_score(unnamed).percent == 100
    assert doubled(2.0) == 4.0


def doubled(x):
    return 2 * x


def test_a_rule_that_would_run_forever_is_caught():
    @op(samples=[Sample([1.0, 2.0, 0.5, -1.0])], types="like_first", declare=False)
    def eightfold(x):
        """8 x."""
        return 8 * x

    @eightfold.vjp("x")
    def eightfold_wrt_x(g):
        turn = 0
        while turn < 3:
            g = g + g
            turn = turn + 1
        return g

    score = mutation_score(eightfold)
    assert any(one.mutant.before == "turn = turn + 1" for one in score.killed)
    assert score.percent == 100


def test_mutants_that_compute_the_same_are_listed_with_the_reason():
    score = mutation_score("leaky_relu")
    (kink,) = [one for one in score.equivalents if one.mutant.kind == "wrong comparison"]
    assert "no difference on" in kink.reason
    assert "between the slopes" in kink.reason
    assert "equivalent" in score.line


def test_an_author_can_declare_a_mutant_equivalent_on_its_line():
    @op(samples=[Sample([1.0, 2.0])], types="like_first", declare=False)
    def stopped(x):
        """x; a stand-in for a rule with a part that no law can see."""
        return x

    @stopped.vjp("x")
    def stopped_wrt_x(g, x_type):
        if x_type.size > 7:
            return g * 1  # equivalent (missing factor, off by one): only large arrays come here
        return g

    score = mutation_score(stopped)
    declared = {one.mutant.kind for one in score.equivalents if one.reason == "only large arrays come here"}
    assert declared == {"missing factor", "off by one"}


def test_a_line_that_no_sample_reaches_is_said():
    @op(samples=[Sample([1.0, 2.0])], types="like_first", declare=False)
    def same(x):
        """x."""
        return x

    @same.vjp("x")
    def same_wrt_x(g, x_type):
        if x_type.ndim == 9:
            return g * 2
        return g

    reasons = {one.reason for one in mutation_score(same).survivors if "g * 2" in one.mutant.before}
    assert reasons == {"no sample reaches this line: add one that does"}


def test_laws_that_the_op_itself_breaks_catch_nothing():
    wrong = weighted(*GOOD)
    wrong.rules.clear()
    wrong.vjp("x")(lambda g, x: g * x)
    score = mutation_score(wrong)
    assert "first derivatives" in score.broken
    assert "mend that first" in str(score)


def test_scores_print():
    out = io.StringIO()
    score = mutation_score(weighted(Sample([0.5])))
    Console(file=out, width=200).print(score)
    assert "op growth" in out.getvalue()
    assert "✗" in out.getvalue()
    assert "mutation score" in str(score)
    assert mutation_score("sign").line == "mutation score – (no derivative rule to get wrong)"


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(SettingError, match="has no samples"):
        mutation_score(weighted())
    with pytest.raises(SettingError, match="composite"):
        mutation_score("var")


def test_a_limit_keeps_all_kinds():
    every = mutants_of(registry.find("convolution"))
    some = mutants_of(registry.find("convolution"), limit=80)
    assert len(some) == 80 < len(every)
    assert {mutant.kind for mutant in some} == {mutant.kind for mutant in every}


# -- the built-in ops ------------------------------------------------------------------------------------------------


def caught_at_random(count, seed):
    """Mutants drawn over all built-in ops until `count` that compute something else have been judged."""
    rng = np.random.default_rng(seed)
    chosen = differentiable_ops()
    known = {}
    verdicts = []
    while len(verdicts) < count:
        one = chosen[rng.integers(len(chosen))]
        mutants = known.setdefault(one.name, None) or mutants_of(one)
        known[one.name] = mutants
        score = mutation_score(one, mutants=[mutants[rng.integers(len(mutants))]])
        assert not score.broken, str(score)
        verdicts += [*score.killed, *score.survivors]
    return verdicts


def assert_caught_by_laws(verdicts):
    missed = [str(one) for one in verdicts if one.outcome != "killed"]
    assert not missed, "\n".join(missed)
    assert {one.law for one in verdicts} <= LAW_NAMES
    assert all(f"by {one.law!r} on Sample(" in str(one) for one in verdicts)


def test_a_handful_of_random_wrong_rules_is_caught_by_the_laws():
    assert_caught_by_laws(caught_at_random(12, seed=1))


@pytest.mark.slow
def test_200_random_wrong_rules_are_all_caught_by_the_laws():
    verdicts = caught_at_random(200, seed=2)
    assert_caught_by_laws(verdicts)
    assert len({one.mutant.op.name for one in verdicts}) > 40


@pytest.mark.slow
@pytest.mark.parametrize("name", [one.name for one in differentiable_ops()])
def test_every_built_in_op_scores_100(name):
    score = mutation_score(name)
    assert not score.survivors, str(score)
    assert not score.broken, str(score)
    assert all(one.reason for one in score.equivalents)
