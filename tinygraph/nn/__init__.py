"""Neural networks with PyTorch's names, arguments, initial values and `state_dict` layout.

This file is the table of names; each kind of layer has its file.
"""

from tinygraph.nn import functional as functional
from tinygraph.nn import init as init
from tinygraph.nn.activation import ELU as ELU
from tinygraph.nn.activation import GELU as GELU
from tinygraph.nn.activation import Dropout as Dropout
from tinygraph.nn.activation import Flatten as Flatten
from tinygraph.nn.activation import LeakyReLU as LeakyReLU
from tinygraph.nn.activation import LogSoftmax as LogSoftmax
from tinygraph.nn.activation import ReLU as ReLU
from tinygraph.nn.activation import Sigmoid as Sigmoid
from tinygraph.nn.activation import SiLU as SiLU
from tinygraph.nn.activation import Softmax as Softmax
from tinygraph.nn.activation import Softplus as Softplus
from tinygraph.nn.activation import Tanh as Tanh
from tinygraph.nn.activation import Unflatten as Unflatten
from tinygraph.nn.attention import MultiheadAttention as MultiheadAttention
from tinygraph.nn.attention import TransformerEncoder as TransformerEncoder
from tinygraph.nn.attention import TransformerEncoderLayer as TransformerEncoderLayer
from tinygraph.nn.containers import ModuleDict as ModuleDict
from tinygraph.nn.containers import ModuleList as ModuleList
from tinygraph.nn.containers import ParameterList as ParameterList
from tinygraph.nn.containers import Sequential as Sequential
from tinygraph.nn.convolution import Conv1d as Conv1d
from tinygraph.nn.convolution import Conv2d as Conv2d
from tinygraph.nn.convolution import Conv3d as Conv3d
from tinygraph.nn.convolution import ConvTranspose1d as ConvTranspose1d
from tinygraph.nn.convolution import ConvTranspose2d as ConvTranspose2d
from tinygraph.nn.convolution import ConvTranspose3d as ConvTranspose3d
from tinygraph.nn.linear import Embedding as Embedding
from tinygraph.nn.linear import Identity as Identity
from tinygraph.nn.linear import Linear as Linear
from tinygraph.nn.loss import BCEWithLogitsLoss as BCEWithLogitsLoss
from tinygraph.nn.loss import CrossEntropyLoss as CrossEntropyLoss
from tinygraph.nn.loss import L1Loss as L1Loss
from tinygraph.nn.loss import MSELoss as MSELoss
from tinygraph.nn.loss import NLLLoss as NLLLoss
from tinygraph.nn.module import Module as Module
from tinygraph.nn.normalization import BatchNorm1d as BatchNorm1d
from tinygraph.nn.normalization import BatchNorm2d as BatchNorm2d
from tinygraph.nn.normalization import BatchNorm3d as BatchNorm3d
from tinygraph.nn.normalization import GroupNorm as GroupNorm
from tinygraph.nn.normalization import LayerNorm as LayerNorm
from tinygraph.nn.normalization import RMSNorm as RMSNorm
from tinygraph.nn.parameter import Parameter as Parameter
from tinygraph.nn.pooling import AdaptiveAvgPool1d as AdaptiveAvgPool1d
from tinygraph.nn.pooling import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from tinygraph.nn.pooling import AdaptiveAvgPool3d as AdaptiveAvgPool3d
from tinygraph.nn.pooling import AvgPool1d as AvgPool1d
from tinygraph.nn.pooling import AvgPool2d as AvgPool2d
from tinygraph.nn.pooling import AvgPool3d as AvgPool3d
from tinygraph.nn.pooling import MaxPool1d as MaxPool1d
from tinygraph.nn.pooling import MaxPool2d as MaxPool2d
from tinygraph.nn.pooling import MaxPool3d as MaxPool3d
