"""Training: the loop, its callbacks and progress, and measuring what a model has learnt."""

from tinygraph.training.callbacks import BestModel as BestModel
from tinygraph.training.callbacks import Callback as Callback
from tinygraph.training.callbacks import Checkpoint as Checkpoint
from tinygraph.training.callbacks import EarlyStopping as EarlyStopping
from tinygraph.training.checkpoints import load_checkpoint as load_checkpoint
from tinygraph.training.checkpoints import read_notes as read_notes
from tinygraph.training.checkpoints import save_checkpoint as save_checkpoint
from tinygraph.training.fitting import fit as fit
from tinygraph.training.history import Epoch as Epoch
from tinygraph.training.history import History as History
from tinygraph.training.logs import CSVLog as CSVLog
from tinygraph.training.logs import JSONLog as JSONLog
from tinygraph.training.logs import TensorBoardLog as TensorBoardLog
from tinygraph.training.measuring import Evaluation as Evaluation
from tinygraph.training.measuring import confusion_matrix as confusion_matrix
from tinygraph.training.measuring import evaluate as evaluate
from tinygraph.training.run import Run as Run
