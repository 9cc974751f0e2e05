"""A packaged network as an ONNX file, checked against PyTorch.

It needs the optional packages of the extra `onnx`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunectl.training.packaged import PackagedNet

NEEDED = ("onnx", "onnxscript", "onnxruntime")
CHECKED_SAMPLES = 3
TOLERANCE = 1e-4
"""How far ONNX Runtime may be from PyTorch, in standard deviations of a target."""


class OnnxMismatchError(Exception):
    """ONNX Runtime and PyTorch do not agree on this network."""


def is_installed() -> bool:
    """Whether the packages of the extra `onnx` are there."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def to_onnx(network: PackagedNet, sample_shape: Sequence[int]) -> bytes:
    """Return the network with its scaling as an ONNX file; the same network gives the same bytes.

    Its input `signals` is (batch, C, …) of 32-bit floats, its output `targets` (batch, T).

    Args:
        network: On the CPU.
        sample_shape: Of one sample as recorded, all channels.

    Raises:
        OnnxMismatchError: what was exported does not give the network's predictions.
    """
    signals = _plausible_signals(network, sample_shape)
    with _quietly():
        program = torch.onnx.export(
            network,
            (signals,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["signals"],
            output_names=["targets"],
            verbose=False,
        )
        assert program is not None
        content = _without_traces(program.model_proto)
    _check(content, network, signals)
    return content


def _plausible_signals(network: PackagedNet, sample_shape: Sequence[int]) -> Tensor:
    """Return a few samples of noise that is distributed as the training's signals were."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((CHECKED_SAMPLES, *sample_shape), generator=generator)
    return network.like_recorded(noise)


def _without_traces(model: Any) -> bytes:
    """Return a model without what PyTorch notes down of source files and their places."""
    for graph in (model.graph, *model.functions):
        del graph.metadata_props[:]
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in graph.value_info:
            del value.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.metadata_props[:]
    return bytes(model.SerializeToString(deterministic=True))


def _check(content: bytes, network: PackagedNet, signals: Tensor) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = network(signals).numpy()
    found = session.run(None, {"signals": signals.numpy()})[0]
    scale = np.maximum(network.target_scale.numpy(), np.abs(expected) * 1e-2)
    worst = float(np.max(np.abs(found - expected) / scale))
    if not worst <= TOLERANCE:
        raise OnnxMismatchError(f"ONNX Runtime is {worst:.2g} standard deviations off")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep to ourselves what the exporter says to its own developers."""
    exporter = logging.getLogger("torch.onnx")
    before = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(before)
