"""An ONNX model in a form that depends on what it computes, and not on how the conversion went.

tf2onnx numbers what it makes and walks over sets of objects, so that each run names and orders its nodes differently.
An artifact's address is the hash of its bytes; so nodes are put in the order in which the outputs need them, and named
by that order.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def canonical(
    model: "onnx.ModelProto", inputs: "Sequence[onnx.ValueInfoProto]", outputs: "Sequence[onnx.ValueInfoProto]"
) -> "onnx.ModelProto":
    """Rename and reorder a model.

    Args:
        model: a model without control flow; nodes in any order.
        inputs: the inputs' new names and types, in the model's order.
        outputs: the outputs' new names and types, in the model's order.

    Returns:
        A model that computes the same.
    """
    import onnx
    from onnx import numpy_helper

    producers = {name: node for node in model.graph.node for name in node.output if name}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    names = {"": ""} | {old.name: new.name for old, new in zip(model.graph.input, inputs, strict=True)}
    nodes: list[onnx.NodeProto] = []
    initializers: dict[bytes, onnx.TensorProto] = {}

    def add_constant(tensor: "onnx.TensorProto") -> None:
        copy = numpy_helper.from_array(numpy_helper.to_array(tensor))
        content = copy.SerializeToString(deterministic=True)
        copy.name = f"constant_{len(initializers)}"
        names[tensor.name] = initializers.setdefault(content, copy).name

    def add_node(node: "onnx.NodeProto") -> None:
        if any(attribute.type in (attribute.GRAPH, attribute.GRAPHS) for attribute in node.attribute):
            raise NotImplementedError(f"control flow ({node.op_type})")
        name = f"{node.op_type}_{len(nodes)}"
        for position, output in enumerate(node.output):
            if output:
                names[output] = f"{name}:{position}"
        # Made anew: a field that is set to its default and one that is not set mean the same, and differ in bytes.
        made = onnx.NodeProto(op_type=node.op_type, name=name, input=[names[source] for source in node.input])
        made.output.extend(names[output] for output in node.output)
        made.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
        if node.domain:
            made.domain = node.domain
        nodes.append(made)

    # Depth first, by hand: a model may be deeper than Python's own stack.
    needed = [value.name for value in reversed(model.graph.output)]
    while needed:
        name = needed[-1]
        if name in names:
            needed.pop()
        elif name in constants:
            add_constant(constants[name])
        else:
            missing = [source for source in producers[name].input if source not in names]
            if missing:
                needed.extend(reversed(missing))
            else:
                add_node(producers[name])
    # The outputs' names are part of the interface.
    for old, new in zip(model.graph.output, outputs, strict=True):
        nodes.append(onnx.helper.make_node("Identity", [names[old.name]], [new.name], name=f"Identity_{len(nodes)}"))
    graph = onnx.helper.make_graph(nodes, "classifier", list(inputs), list(outputs), list(initializers.values()))
    domains = {node.domain for node in nodes}
    opsets = [opset for opset in model.opset_import if opset.domain in domains]
    return onnx.helper.make_model(
        graph, opset_imports=opsets, ir_version=model.ir_version, producer_name=model.producer_name
    )
