"""Optimizers and learning-rate schedules with PyTorch's names, arguments and values."""

from tinygraph.optim import lr_scheduler as lr_scheduler
from tinygraph.optim.adafactor import Adafactor as Adafactor
from tinygraph.optim.adagrad import Adadelta as Adadelta
from tinygraph.optim.adagrad import Adagrad as Adagrad
from tinygraph.optim.adam import Adam as Adam
from tinygraph.optim.adam import AdamW as AdamW
from tinygraph.optim.adam_variants import Adamax as Adamax
from tinygraph.optim.adam_variants import NAdam as NAdam
from tinygraph.optim.adam_variants import RAdam as RAdam
from tinygraph.optim.asgd import ASGD as ASGD
from tinygraph.optim.lbfgs import LBFGS as LBFGS
from tinygraph.optim.muon import Muon as Muon
from tinygraph.optim.optimizer import Optimizer as Optimizer
from tinygraph.optim.rmsprop import RMSprop as RMSprop
from tinygraph.optim.rprop import Rprop as Rprop
from tinygraph.optim.sgd import SGD as SGD
