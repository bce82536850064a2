"""Optimizers and learning-rate schedules with PyTorch's names, arguments and values."""

from tinygraph.optim import lr_scheduler as lr_scheduler
from tinygraph.optim.adam import Adam as Adam
from tinygraph.optim.adam import AdamW as AdamW
from tinygraph.optim.optimizer import Optimizer as Optimizer
from tinygraph.optim.rmsprop import RMSprop as RMSprop
from tinygraph.optim.sgd import SGD as SGD
