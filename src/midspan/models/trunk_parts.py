"""What the bare trunk computes with: the weights of a trunk, part by part."""

from typing import Any, NamedTuple

from torch import Tensor, nn


class Norm(NamedTuple):
    """A root-mean-square norm; `rounded_once` where its weight is applied in single precision."""

    weight: Tensor
    epsilon: float
    rounded_once: bool


class Pair(NamedTuple):
    """The low-rank pair of an adapter."""

    down: Tensor
    up: Tensor
    bias: Tensor | None
    scaling: float


class Projection(NamedTuple):
    """A linear layer and what its active adapters add."""

    weight: Tensor
    bias: Tensor | None
    pairs: tuple[Pair, ...]


class Layer(NamedTuple):
    """The weights of a layer; a linear layer that is not known is called."""

    norm: Norm
    query: Projection | nn.Module
    key: Projection | nn.Module
    value: Projection | nn.Module
    query_norm: Norm | None
    key_norm: Norm | None
    output: Projection | nn.Module
    attention: Any
    feed_norm: Norm
    gate: Projection | nn.Module
    up: Projection | nn.Module
    down: Projection | nn.Module


class Trunk(NamedTuple):
    """The weights of a trunk."""

    embedding: Tensor
    rotary: nn.Module
    layers: tuple[Layer, ...]
    norm: Norm
