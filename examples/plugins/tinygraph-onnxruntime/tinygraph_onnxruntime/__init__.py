"""Operators of com.microsoft for tinygraph: importing this package declares them."""

from tinygraph_onnxruntime.activations import bias_gelu as bias_gelu
from tinygraph_onnxruntime.activations import fast_gelu as fast_gelu
from tinygraph_onnxruntime.activations import quick_gelu as quick_gelu
from tinygraph_onnxruntime.attention import packed_attention as packed_attention
from tinygraph_onnxruntime.attention import skip_layer_norm as skip_layer_norm
from tinygraph_onnxruntime.attention import skip_rms_norm as skip_rms_norm
from tinygraph_onnxruntime.products import fused_convolution as fused_convolution
from tinygraph_onnxruntime.products import fused_gemm as fused_gemm
from tinygraph_onnxruntime.products import fused_matmul as fused_matmul
