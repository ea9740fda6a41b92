"""The ONNX model: token ids in, probabilities out, in one file that ONNX Runtime answers from."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubtune.errors import ExportFailed
from tasks.publish.canonical_onnx import canonical
from tasks.publish.classifier_graph import ClassifierGraph, Tensor

if TYPE_CHECKING:
    import numpy as np
    import onnx

OPSET = 17
"""Known to work with tf2onnx 1.17, and read by every ONNX Runtime since 1.12 (2022)."""

_INPUTS = ("input_ids", "attention_mask")
_TYPES = "token_type_ids"
# Constants from this size on are weights. Smaller ones stay in the graph, where the conversion needs their values:
# shapes, axes, bounds of slices.
_BYTES_OF_A_WEIGHT = 1024


def export_onnx(classifier: ClassifierGraph, path: Path) -> None:
    """Write encoder and head as an ONNX model.

    Inputs: `input_ids`, `attention_mask` and, where texts are pairs, `token_type_ids`, int64[batch, length], both
    dimensions free. Output: `probabilities`, float32[batch, classes].

    Args:
        classifier: a classifier on a BERT-like encoder.
        path: the file to write.

    Raises:
        ExportFailed: ONNX has no counterpart for something in the encoder, or the result is invalid.
    """
    import onnx
    import tensorflow as tf

    names = (*_INPUTS, _TYPES) if classifier.trained.pairs else _INPUTS
    ids = [tf.TensorSpec([None, None], tf.int64, name=name) for name in names]

    @tf.function(input_signature=ids, autograph=False)
    def answer(input_ids: Tensor, attention_mask: Tensor, type_ids: Tensor | None = None) -> Tensor:
        types = None if type_ids is None else tf.cast(type_ids, tf.int32)
        vectors = classifier.encode(tf.cast(input_ids, tf.int32), tf.cast(attention_mask, tf.int32), types)
        return classifier.classify(vectors)

    try:
        converted = _convert(answer.get_concrete_function(), names)
        inputs = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch", "length"]) for name in names
        ]
        shape: list[str | int | None] = ["batch", len(classifier.trained.labels)]
        output = onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, shape)
        model = canonical(converted, inputs, [output])
        onnx.checker.check_model(model, full_check=True)
    except ExportFailed:
        raise
    except Exception as error:  # tf2onnx and onnx raise whatever comes to hand
        raise ExportFailed(
            f"the encoder cannot be expressed in ONNX (opset {OPSET}): {type(error).__name__}: {error}",
            where="model.source",
            remedy="use another model.source, or report the model",
        ) from error
    path.write_bytes(model.SerializeToString(deterministic=True))


def _convert(function: Any, names: Sequence[str]) -> "onnx.ModelProto":
    # tf2onnx.convert.from_function does the same in one call, but it only logs what it cannot convert and returns an
    # invalid model, repairs the graph after optimizers that failed, and carries all weights through some forty copies
    # of the graph: 23 s for a model of 90 MB. Here the weights are inputs until the graph is done.
    # Nor is convert_variables_to_constants_v2 called: 5 of its 6 s make a function of the graph, which nobody needs.
    import tensorflow as tf
    from onnx import numpy_helper
    from tensorflow.python.framework import convert_to_constants
    from tf2onnx import optimizer, tf_loader
    from tf2onnx.tfonnx import process_tf_graph

    variables = convert_to_constants._FunctionConverterDataInEager(
        func=function, lower_control_flow=False, aggressive_inlining=True
    )
    graph_def, _ = convert_to_constants._replace_variables_by_constants(variables)
    outputs = [tensor.name for tensor in function.outputs]
    weights = _take_out_weights(graph_def)
    inputs = [*(f"{name}:0" for name in names), *weights]
    with tf.Graph().as_default():
        graph_def = tf_loader.tf_optimize(inputs, outputs, graph_def)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        converted = process_tf_graph(
            graph,
            opset=OPSET,
            input_names=inputs,
            output_names=outputs,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    _refuse_unknown_operators(converted)
    model: onnx.ModelProto = optimizer.optimize_graph(converted, catch_errors=False).make_model("")
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    for value_info in [value_info for value_info in model.graph.input if value_info.name in weights]:
        model.graph.input.remove(value_info)
    return model


def _take_out_weights(graph_def: Any) -> "dict[str, np.ndarray[Any, Any]]":
    """Turn each large constant into an input, and return their values by the inputs' names."""
    import tensorflow as tf

    weights = {}
    for node in graph_def.node:
        if node.op == "Const" and node.attr["value"].tensor.ByteSize() >= _BYTES_OF_A_WEIGHT:
            value = tf.make_ndarray(node.attr["value"].tensor)
            weights[f"{node.name}:0"] = value
            node.op = "Placeholder"
            del node.attr["value"]
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    return weights


def _refuse_unknown_operators(graph: Any) -> None:
    import onnx

    unknown = {
        node.type
        for node in graph.get_nodes()
        if not node.is_const() and not node.is_graph_input() and not onnx.defs.has(node.type, OPSET, node.domain)
    }
    if unknown:
        raise ExportFailed(
            f"ONNX (opset {OPSET}) has no counterpart for {', '.join(sorted(unknown))}, which the encoder uses",
            where="model.source",
            remedy="use another model.source, or report the model",
        )


def _erfc(graph: Any, node: Any, name: str, args: Any) -> None:
    """TensorFlow's exact GELU is x / 2 * erfc(-x / sqrt(2)), and tf2onnx knows no Erfc: 1 - erf."""
    del name, args
    import numpy as np
    from tf2onnx import utils

    one = graph.make_const(utils.make_name("one"), np.float32(1))
    shape, dtype = graph.get_shape(node.output[0]), graph.get_dtype(node.output[0])
    erf = graph.make_node("Erf", node.input, shapes=[shape], dtypes=[dtype])
    output = node.output
    graph.remove_node(node.name)
    graph.make_node("Sub", [one.output[0], erf.output[0]], outputs=output, shapes=[shape], dtypes=[dtype])
