"""Two cards that are not there: CPU tensors with a logical device, which do not mix, as on CUDA.

``with logical_devices():`` tensors made on ``FIRST`` or ``SECOND``, or moved there, say so in
``.device``. An operation on tensors of two devices raises what CUDA raises. What CUDA allows is
allowed: copies, scalars of the CPU, indices of the CPU. ``spread`` places a model as accelerate's
``device_map`` does.

The devices are "meta" ones with an index, since autograd runs these in the calling thread.
"""

from collections.abc import Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

FIRST, SECOND = torch.device("meta", 0), torch.device("meta", 1)
CPU = torch.device("cpu")
aten = torch.ops.aten
# Their other tensors may be on the CPU, whatever the first one's device.
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
INDEXED |= {aten._index_put_impl_.default, aten._unsafe_index.Tensor}
COPIES = {aten._to_copy.default, aten.copy_.default}


def is_logical(device) -> bool:
    return device is not None and torch.device(device) in (FIRST, SECOND)


class Placed(torch.Tensor):
    """A CPU tensor that says it is elsewhere."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=device,
        )  # fmt: skip

    def __init__(self, held: Tensor, device: torch.device) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def tolist(self):
        return self.held.tolist()

    def __repr__(self):
        return f"Placed({self.held!r}, {self.device})"


def run(func, args, kwargs):
    """The operation on the CPU, its result where CUDA would have it."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    target = kwargs.get("device")
    if is_logical(target):
        kwargs = {**kwargs, "device": CPU}
    elif target is None:
        target = _common_device(func, tensors)
    if func is aten._fused_sdp_choice.default:
        return 0  # The mathematical one; the fused ones are each for one kind of device.
    wrapper = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, Placed)}

    def held(leaf):
        return leaf.held if isinstance(leaf, Placed) else leaf

    def placed(leaf):
        if not isinstance(leaf, Tensor) or isinstance(leaf, Placed):
            return leaf
        if id(leaf) in wrapper:  # In place.
            return wrapper[id(leaf)]
        return Placed(leaf, torch.device(target)) if is_logical(target) else leaf

    out = func(*tree_map(held, args), **tree_map(held, kwargs))
    return tree_map(placed, out)


def _common_device(func, tensors: list[Tensor]) -> torch.device | None:
    devices = [tensor.device for tensor in tensors]
    if not devices:
        return None
    if func in COPIES:
        return devices[0]
    counted = {
        tensor.device
        for position, tensor in enumerate(tensors)
        if tensor.device != CPU or (tensor.ndim > 0 and not (position and func in INDEXED))
    }
    if len(counted) > 1:
        names = ", ".join(sorted(map(str, counted)))
        raise RuntimeError(f"Expected all tensors to be on the same device, {func} got {names}")
    return counted.pop() if counted else CPU


class _Factories(TorchFunctionMode):
    """Tensors from Python lists, as data or as index, are made out of a dispatch mode's sight."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            index = tuple(torch.tensor(part) if isinstance(part, list) else part for part in index)
            return func(args[0], index, *args[2:])
        if func in (Tensor.numpy, Tensor.tolist) and type(args[0]) is Tensor:
            with _disable_current_modes():
                return func(*args)
        if func in (torch.tensor, torch.as_tensor) and is_logical(kwargs.get("device")):
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    """Every operation of the context."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # In inference mode, operations that consist of others come whole.
        if func._can_decompose():
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        return run(func, args, kwargs)


@contextmanager
def logical_devices():
    """The context in which such tensors live."""
    with _Factories(), _Operations():
        yield


def move(value, device: torch.device):
    """Tensors in arguments or a result, moved; other objects, such as a cache, as they are."""
    return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, value)


def spread(model: nn.Module, device_map: Mapping[str, torch.device]) -> None:
    """Place a model's blocks as accelerate does: inputs follow the weights of each module.

    Only the root's outputs come back to where its inputs were (``io_same_device``).
    """
    model.hf_device_map = dict(device_map)
    for name, module in model.named_modules():
        block = max((key for key in device_map if f"{name}.".startswith(f"{key}.")), key=len,
                    default=None)  # fmt: skip
        if block is None:
            continue
        device = device_map[block]
        for key, weight in list(module.named_parameters(recurse=False)):
            placed = nn.Parameter(weight.detach().to(device), requires_grad=weight.requires_grad)
            module._parameters[key] = placed
        for key, buffer in list(module.named_buffers(recurse=False)):
            module._buffers[key] = buffer.to(device)
        module.register_forward_pre_hook(
            lambda _, args, kwargs, device=device: move((args, kwargs), device), with_kwargs=True
        )
    first = next(iter(device_map.values()))
    model.register_forward_hook(lambda module, args, output: move(output, first))


def halves(base: nn.Module) -> dict[str, torch.device]:
    """A device map of a causal language model: the second half of its layers on the second card."""
    layers = len(base.model.layers)
    first = {f"model.layers.{index}": FIRST for index in range(layers // 2)}
    second = {f"model.layers.{index}": SECOND for index in range(layers // 2, layers)}
    return {
        "model.embed_tokens": FIRST,
        "model.rotary_emb": FIRST,
        **first,
        **second,
        "model.norm": SECOND,
        "lm_head": SECOND,
    }
