"""Which operations of a graph read text: the reason why a text-embedding module has no ONNX form."""

from typing import Any


def text_operations(module: Any) -> list[str]:
    """Find the operations of a text-embedding module that take strings.

    Args:
        module: a loaded module, string[n] -> float32[n, width].

    Returns:
        Their types, sorted. Never empty: a module that reads its input has at least one.
    """
    import tensorflow as tf
    from tensorflow.core.framework import types_pb2
    from tensorflow.python.framework import op_def_registry

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def embed(texts: Any) -> Any:
        return module(texts)

    graph = embed.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    found = set()
    for node in nodes:
        definition = op_def_registry.get(node.op)
        # Calls of functions pass everything on; what the functions do with it is found inside them.
        if definition is None or "f" in node.attr or node.op in ("Identity", "IdentityN"):
            continue
        for argument in definition.input_arg:
            kind = node.attr[argument.type_attr].type if argument.type_attr else argument.type
            if kind == types_pb2.DT_STRING:
                found.add(node.op)
    return sorted(found)
