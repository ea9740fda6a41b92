"""The canonical form: the same model whatever the conversion named and ordered."""

import random

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tasks.publish.canonical_onnx import canonical

INPUTS = [helper.make_tensor_value_info("input_ids", TensorProto.FLOAT, ["batch", 2])]
OUTPUTS = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2])]


def model(seed: int) -> onnx.ModelProto:
    """softmax((x * w) + (x - w) + w), with names, order of nodes and copies of the constant w by chance."""
    chance = random.Random(seed)

    def name(hint: str) -> str:
        return f"{hint}__{chance.randrange(10**9)}"

    x, y = name("x"), name("y")
    w = [name("w") for _ in range(3)] if chance.random() < 0.5 else [name("w")] * 3
    product, difference, total, shifted = (name("t") for _ in range(4))
    nodes = [
        helper.make_node("Mul", [x, w[0]], [product], name=name("Mul")),
        helper.make_node("Sub", [x, w[1]], [difference], name=name("Sub")),
        helper.make_node("Add", [product, difference], [total], name=name("Add")),
        helper.make_node("Add", [total, w[2]], [shifted], name=name("Add")),
        helper.make_node("Softmax", [shifted], [y], name=name("Softmax"), axis=-1),
        helper.make_node("Neg", [x], [name("unused")], name=name("Neg")),
    ]
    chance.shuffle(nodes)
    for node in nodes:
        if chance.random() < 0.5:
            node.domain = ""
    constants = [numpy_helper.from_array(np.array([2.0, -1.0], np.float32), key) for key in dict.fromkeys(w)]
    chance.shuffle(constants)
    graph = helper.make_graph(
        nodes,
        name("graph"),
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [name("unk"), 2])],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, [name("unk"), 2])],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="test")


def bytes_of(form: onnx.ModelProto) -> bytes:
    content: bytes = form.SerializeToString(deterministic=True)
    return content


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_names_and_order_do_not_reach_the_bytes(one: int, other: int) -> None:
    assert bytes_of(canonical(model(one), INPUTS, OUTPUTS)) == bytes_of(canonical(model(other), INPUTS, OUTPUTS))


def test_the_canonical_form_computes_the_same() -> None:
    form = canonical(model(3), INPUTS, OUTPUTS)
    onnx.checker.check_model(form, full_check=True)
    assert "Neg" not in [node.op_type for node in form.graph.node]
    session = onnxruntime.InferenceSession(bytes_of(form), providers=["CPUExecutionProvider"])
    x, w = np.array([[0.5, 2.0], [-1.0, 3.0]], np.float32), np.array([2.0, -1.0], np.float32)
    powers = np.exp(x * w + x - w + w)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(session.run(["probabilities"], {"input_ids": x})[0], expected, rtol=1e-5)


def test_control_flow_is_refused_and_not_garbled() -> None:
    flow = model(3)
    body = helper.make_graph([], "body", [], [])
    flow.graph.node[0].attribute.append(helper.make_attribute("then_branch", body))
    for node in flow.graph.node:
        if not node.attribute:
            node.attribute.append(helper.make_attribute("then_branch", body))
    with pytest.raises(NotImplementedError, match="control flow"):
        canonical(flow, INPUTS, OUTPUTS)
