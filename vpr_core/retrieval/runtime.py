"""ONNX Runtime, the one place that imports it."""

from __future__ import annotations

import os

# Read when the library loads: a vehicle does not report its use to anybody, nor write a device id into the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime  # noqa: E402  (after the line above)

from vpr_core.errors import BundleError  # noqa: E402

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_session(onnx: bytes, device: str = "cpu", threads: int = 0) -> onnxruntime.InferenceSession:
    """A session for an ONNX file's bytes; `threads` 0 lets ONNX Runtime choose.

    Raises BundleError where this installation cannot run it on `device`.
    """
    if device not in _PROVIDERS:
        raise BundleError(f"device is {device!r}, expected one of {', '.join(_PROVIDERS)}")
    if _PROVIDERS[device] not in onnxruntime.get_available_providers():
        raise BundleError(f"this ONNX Runtime has no {_PROVIDERS[device]}: install onnxruntime-gpu, or use device cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=[_PROVIDERS[device]])
    except Exception as error:  # ONNX Runtime's errors share no public base class
        raise BundleError(f"ONNX Runtime {onnxruntime.__version__} cannot load the encoder: {error}") from error
