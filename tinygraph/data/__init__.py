"""Data: datasets, batches in a seeded order, scikit-learn's digits, and readers for users' own files."""

from tinygraph.data.dataset import ConcatDataset as ConcatDataset
from tinygraph.data.dataset import Dataset as Dataset
from tinygraph.data.dataset import Subset as Subset
from tinygraph.data.dataset import TensorDataset as TensorDataset
from tinygraph.data.dataset import Transformed as Transformed
from tinygraph.data.dataset import random_split as random_split
from tinygraph.data.dataset_files import check_finite as check_finite
from tinygraph.data.dataset_files import read_cifar as read_cifar
from tinygraph.data.dataset_files import read_idx as read_idx
from tinygraph.data.dataset_files import read_idx_folder as read_idx_folder
from tinygraph.data.dataset_files import read_npz as read_npz
from tinygraph.data.digits import load_digits as load_digits
from tinygraph.data.image_folder import ImageFolder as ImageFolder
from tinygraph.data.loader import DataLoader as DataLoader
from tinygraph.data.mapped_arrays import map_arrays as map_arrays
from tinygraph.data.samplers import RandomSampler as RandomSampler
from tinygraph.data.samplers import SequentialSampler as SequentialSampler
from tinygraph.data.samplers import WeightedRandomSampler as WeightedRandomSampler
