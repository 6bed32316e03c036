"""A backbone that is an .onnx file: images (N, 3, H, W) float -> features. Run by onnxruntime as it is."""

from pathlib import Path

import onnxruntime

from engine.contract.manifest import file_digest
from engine.data.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone, BackboneError, first_line

DEFAULT_SIZE = 224


def open_onnx(path: Path, image_size: int | None, mean: tuple[float, ...] | None,
              std: tuple[float, ...] | None) -> Backbone:
    """The file as a backbone. image_size None: its own, 224 where it takes any. Raises BackboneError where it cannot be
    read or does not take images."""
    session = open_session(path, num_threads=1)
    (batch, *rest), output = session.get_inputs()[0].shape, output_of(session)
    if len(session.get_inputs()) != 1 or len(rest) != 3 or rest[0] != 3 or isinstance(batch, int):
        raise BackboneError(f"an .onnx backbone must take (any number, 3, H, W) alone; {path} takes "
                            f"{[i.shape for i in session.get_inputs()]}; export it so")
    own = rest[1] if isinstance(rest[1], int) else None
    if own is not None and image_size not in (None, own):
        raise BackboneError(f"{path} takes images of {own} pixels; got {image_size}; leave --image-size out")
    num = output.shape[1]
    if not isinstance(num, int):
        raise BackboneError(f"an .onnx backbone must name the number of its features; {path} gives {output.shape}; "
                            "export it so")
    return Backbone(name=str(path), module=None, num_features=num, image_size=own or image_size or DEFAULT_SIZE,
                    mean=mean or IMAGENET_MEAN, std=std or IMAGENET_STD, revision=path.name, digest=file_digest(path),
                    onnx_path=path)


def open_session(path: Path, num_threads: int) -> onnxruntime.InferenceSession:
    """onnxruntime on CPU. Raises BackboneError where the file cannot be read."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own, all of them plain Exceptions
        raise BackboneError(f"an .onnx backbone must be a file that onnxruntime reads; {path}: {first_line(error)}") \
            from error


def output_of(session: onnxruntime.InferenceSession) -> onnxruntime.NodeArg:
    """The first output of two dimensions, else the first of four, which is pooled. Raises BackboneError where there is
    neither."""
    outputs = session.get_outputs()
    for num_dims in (2, 4):
        for output in outputs:
            if len(output.shape) == num_dims:
                return output
    raise BackboneError(f"an .onnx backbone must give (N, D) or (N, D, H, W); got {[o.shape for o in outputs]}; export "
                        "it so")
