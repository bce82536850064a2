"""Attention: MultiheadAttention and the transformer, laid out as in PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.registry import ops
from tinygraph.errors import SettingError
from tinygraph.nn import functional, init
from tinygraph.nn.containers import ModuleList
from tinygraph.nn.dropout import Dropout
from tinygraph.nn.linear import Linear
from tinygraph.nn.module import Module
from tinygraph.nn.normalization import LayerNorm
from tinygraph.nn.parameter import Parameter, zeros_parameter

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class MultiheadAttention(Module):
    """Attention of several heads side by side (Vaswani et al., 2017).

    Shapes: query (length, batch, embed_dim), key (source, batch, kdim), value (source, batch, vdim), output as query;
    batch first with `batch_first`; without the batch axis for a single sample.

    Args:
        embed_dim: the width, divided among the heads.
        num_heads: how many heads.
        dropout: the probability of dropping an attention weight in training.
        bias: whether projections have biases.
        add_bias_kv: whether a learned key and value are appended, for every sample alike.
        add_zero_attn: whether a key and value of zeros are appended.
        kdim, vdim: the widths of key and value, `embed_dim` by default.
        batch_first: whether the batch is the first axis.
        dtype: of the parameters, float32 by default.

    >>> import numpy as np
    >>> x = np.ones((5, 2, 8), np.float32)
    >>> output, weights = MultiheadAttention(8, 2)(x, x, x)
    >>> output.shape, weights.shape
    ((5, 2, 8), (2, 5, 5))
    """

    _whole = True

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        if num_heads < 1 or embed_dim % num_heads:
            raise SettingError(f"MultiheadAttention: num_heads={num_heads} must divide embed_dim={embed_dim}")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        kdim = embed_dim if kdim is None else kdim
        vdim = embed_dim if vdim is None else vdim
        self.in_proj_weight: Parameter | None = None
        if kdim == vdim == embed_dim:
            self.in_proj_weight = zeros_parameter((3 * embed_dim, embed_dim), dtype, device)
        else:
            self.q_proj_weight = zeros_parameter((embed_dim, embed_dim), dtype, device)
            self.k_proj_weight = zeros_parameter((embed_dim, kdim), dtype, device)
            self.v_proj_weight = zeros_parameter((embed_dim, vdim), dtype, device)
        self.in_proj_bias = zeros_parameter(3 * embed_dim, dtype, device) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        self.bias_k = zeros_parameter((1, 1, embed_dim), dtype, device) if add_bias_kv else None
        self.bias_v = zeros_parameter((1, 1, embed_dim), dtype, device) if add_bias_kv else None
        self.add_zero_attn = add_zero_attn
        self._draw()

    def _draw(self) -> None:
        for name, parameter in self.named_parameters(recurse=False):
            if name in ("bias_k", "bias_v"):
                init.xavier_normal_(parameter)
            elif name != "in_proj_bias":
                init.xavier_uniform_(parameter)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Numeric,
        key: Numeric,
        value: Numeric,
        key_padding_mask: Numeric | None = None,
        need_weights: bool = True,
        attn_mask: Numeric | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """Attend from `query` to `key`.

        Args:
            query, key, value: see the class.
            key_padding_mask: (batch, source); True, or a number to add, where a key is padding.
            need_weights: whether the attention weights are returned too.
            attn_mask: (length, source) or (batch * heads, length, source); True where a query may not attend, or
                numbers that are added.
            average_attn_weights: whether those weights are averaged over the heads.
            is_causal: a hint that `attn_mask` is causal; it needs the mask.

        Returns:
            (output, weights or None); weights are (batch, length, source), or (batch, heads, length, source).
        """
        if is_causal and attn_mask is None:
            raise SettingError("MultiheadAttention: is_causal=True is a hint about attn_mask and needs one")
        single = query.ndim == 2
        if single:
            query, key, value = (ops.expand_dims(x, axis=0) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = ops.expand_dims(key_padding_mask, axis=0)
        elif not self.batch_first:
            query, key, value = (ops.swapaxes(x, axis1=0, axis2=1) for x in (query, key, value))
        mask = self._mask(attn_mask, key_padding_mask, query.shape[0], query.dtype)
        queries, keys, values = self._projected(query, key, value)
        if self.bias_k is not None:
            keys, values = (_appended(x, one) for x, one in ((keys, self.bias_k), (values, self.bias_v)))
        if self.add_zero_attn:
            nothing = np.zeros((1, 1, self.embed_dim), keys.dtype)
            keys, values = _appended(keys, nothing), _appended(values, nothing)
        more = keys.shape[1] - key.shape[1]
        if mask is not None and more:  # what was appended is never hidden
            mask = ops.pad(mask, pad_width=(*[(0, 0)] * (mask.ndim - 1), (0, more)), constant_values=0)
        queries, keys, values = map(self._heads, (queries, keys, values))
        weights = functional.attention_weights(queries, keys, mask)
        weights = functional.dropout(weights, self.dropout, self.training)
        joined = ops.reshape(ops.swapaxes(weights @ values, axis1=1, axis2=2), shape=query.shape)
        output = self.out_proj(joined)
        if single:
            output = output[0]
        elif not self.batch_first:
            output = ops.swapaxes(output, axis1=0, axis2=1)
        if not need_weights:
            return output, None
        if average_attn_weights:
            weights = ops.mean(weights, axis=1)
        return output, weights[0] if single else weights

    def _projected(self, *inputs: Any) -> list[Any]:
        weights: tuple[Any, ...]
        if self.in_proj_weight is not None:
            weights = ops.split(self.in_proj_weight, sections=3, axis=0)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (
            (None,) * 3 if self.in_proj_bias is None else ops.split(self.in_proj_bias, sections=3, axis=0)
        )
        return [functional.linear(*three) for three in zip(inputs, weights, biases, strict=True)]

    def _heads(self, x: Numeric) -> Any:
        """(batch, length, embed_dim) -> (batch, heads, length, head_dim)"""
        split = ops.reshape(x, shape=(*x.shape[:2], self.num_heads, self.head_dim))
        return ops.swapaxes(split, axis1=1, axis2=2)

    def _mask(self, attn_mask: object, key_padding_mask: object, batch: int, dtype: Any) -> Any:
        """Both masks as numbers to add, broadcasting to (batch, heads, length, source)."""
        total: Any = None
        if attn_mask is not None:
            total = _additive(attn_mask, dtype)
            if total.ndim == 3:
                total = ops.reshape(total, shape=(batch, self.num_heads, *total.shape[1:]))
        if key_padding_mask is not None:
            padding = _additive(key_padding_mask, dtype)[:, None, None, :]
            total = padding if total is None else total + padding
        return total


def _appended(x: Numeric, one: Any) -> Any:
    """(batch, length, width) with one more row, the same for every sample."""
    return ops.concatenate(x, ops.broadcast_to(one, shape=(x.shape[0], 1, x.shape[2])), axis=1)


def _additive(mask: Any, dtype: np.dtype[Any]) -> Any:
    """A boolean mask (True: hidden) as 0 and -inf."""
    return ops.where(mask, dtype.type(-np.inf), dtype.type(0)) if mask.dtype == bool else mask


class _Layer(Module):
    """What encoder and decoder layers share: attention, and a feed-forward network, with residual sums and LayerNorms.

    Args:
        d_model: the width.
        nhead: heads.
        dim_feedforward: the width within the feed-forward network.
        dropout: the probability of dropping an element, in every place.
        activation: "relu", "gelu", or a function.
        layer_norm_eps: of the LayerNorms.
        batch_first: whether input is (batch, length, d_model) rather than (length, batch, d_model).
        norm_first: whether each LayerNorm comes before its block rather than after the residual sum.
        bias: whether linear layers and LayerNorms have biases.
        dtype: of the parameters, float32 by default.
    """

    attentions: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        if isinstance(activation, str) and activation not in ("relu", "gelu"):
            raise SettingError(f'activation is {activation!r}; it can be "relu", "gelu" or a function')
        places: dict[str, Any] = {"device": device, "dtype": dtype}
        for name in self.attentions:
            attention = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **places)
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **places)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **places)
        self.norm_first = norm_first
        blocks = range(1, len(self.attentions) + 2)
        for i in blocks:
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, **places))
        for i in blocks:
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = getattr(functional, activation) if isinstance(activation, str) else activation

    def _residual(self, x: object, number: int, block: Callable[[Any], Any]) -> Any:
        """x plus what a block makes of it, with the block's LayerNorm before or behind."""
        norm, drop = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        if self.norm_first:
            return x + drop(block(norm(x)))
        return norm(x + drop(block(x)))

    def _feed_forward(self, x: Numeric) -> Any:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network, each with a residual sum and LayerNorm (Vaswani et al., 2017).

    Args: see `_Layer`; the names are PyTorch's.
    """

    attentions = ("self_attn",)
    self_attn: MultiheadAttention

    def forward(
        self,
        src: Numeric,
        src_mask: Numeric | None = None,
        src_key_padding_mask: Numeric | None = None,
        is_causal: bool = False,
    ) -> Any:
        def attend(x: object) -> Any:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]

        return self._residual(self._residual(src, 1, attend), 2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's output and a feed-forward network, each with residual sum and norm.

    Args: see `_Layer`; the names are PyTorch's.
    """

    attentions = ("self_attn", "multihead_attn")
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention

    def forward(
        self,
        tgt: Numeric,
        memory: Numeric,
        tgt_mask: Numeric | None = None,
        memory_mask: Numeric | None = None,
        tgt_key_padding_mask: Numeric | None = None,
        memory_key_padding_mask: Numeric | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        def attend(x: object) -> Any:
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]

        def look(x: object) -> Any:
            return self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask, is_causal=memory_is_causal
            )[0]

        x = self._residual(self._residual(tgt, 1, attend), 2, look)
        return self._residual(x, 3, self._feed_forward)


class TransformerEncoder(Module):
    """Copies of one encoder layer, one after the other, and perhaps a norm.

    Args:
        encoder_layer: the layer to copy, values included.
        num_layers: how many copies.
        norm: a module for the end.
    """

    def __init__(
        self,
        encoder_layer: TransformerEncoderLayer,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Numeric,
        mask: Numeric | None = None,
        src_key_padding_mask: Numeric | None = None,
        is_causal: bool | None = None,
    ) -> Any:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Copies of one decoder layer, one after the other, and perhaps a norm.

    Args:
        decoder_layer: the layer to copy, values included.
        num_layers: how many copies.
        norm: a module for the end.
    """

    def __init__(
        self, decoder_layer: TransformerDecoderLayer, num_layers: int, norm: Module | None = None
    ) -> None:
        self.layers = ModuleList([copy.deepcopy(decoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Numeric,
        memory: Numeric,
        tgt_mask: Numeric | None = None,
        memory_mask: Numeric | None = None,
        tgt_key_padding_mask: Numeric | None = None,
        memory_key_padding_mask: Numeric | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        for layer in self.layers:
            tgt = layer(
                tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
                bool(tgt_is_causal), memory_is_causal,
            )  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder and a decoder (Vaswani et al., 2017).

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias: of layers.
        num_encoder_layers, num_decoder_layers: how many of each.
        custom_encoder, custom_decoder: modules to take instead.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        layer = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device,
            dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*layer), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*layer), num_decoder_layers, norm()
        )
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def forward(
        self,
        src: Numeric,
        tgt: Numeric,
        src_mask: Numeric | None = None,
        tgt_mask: Numeric | None = None,
        memory_mask: Numeric | None = None,
        src_key_padding_mask: Numeric | None = None,
        tgt_key_padding_mask: Numeric | None = None,
        memory_key_padding_mask: Numeric | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal,
            memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(size: int) -> np.ndarray[Any, Any]:
        """A mask (size, size) that hides what comes later: 0 up to the diagonal, -inf above it."""
        return np.triu(np.full((size, size), -np.inf, np.float32), 1)
