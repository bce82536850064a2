"""Testing ops and derivatives: `check_op` holds an op to every law, `check_grads` any function to differences."""

from tinygraph.testing.check import Case as Case
from tinygraph.testing.check import Outcome as Outcome
from tinygraph.testing.check import Report as Report
from tinygraph.testing.check import cases as cases
from tinygraph.testing.check import check_grads as check_grads
from tinygraph.testing.check import check_op as check_op
from tinygraph.testing.law import DoesNotApply as DoesNotApply
from tinygraph.testing.law import Finding as Finding
from tinygraph.testing.law import Law as Law
from tinygraph.testing.law import LawBroken as LawBroken
from tinygraph.testing.laws import LAWS as LAWS
from tinygraph.testing.linter import Fault as Fault
from tinygraph.testing.linter import lint_op as lint_op
from tinygraph.testing.mutation import Score as Score
from tinygraph.testing.mutation import Verdict as Verdict
from tinygraph.testing.mutation import mutation_score as mutation_score
