"""Makes the small models of tests/gpu/classify_cli.rs: shapes and faults that the real classifiers have not.

Needs numpy and onnx.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
RANDOM = np.random.default_rng(4)


def floats(name, *shape):
    return numpy_helper.from_array(RANDOM.normal(0, 0.5, shape).astype(np.float32), name)


def value(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])


def save(name, nodes, inputs, outputs, constants, external=False):
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path = HERE / f"{name}.onnx"
    if external:
        onnx.save_model(model, path, save_as_external_data=True, location=f"{name}.data", size_threshold=0)
        (HERE / f"{name}.data").unlink()
    else:
        onnx.save_model(model, path)


node = helper.make_node
# A picture of one channel, two classes.
save(
    "picture",
    [
        node("Conv", ["picture", "k", "kb"], ["edges"], pads=[1, 1, 1, 1], name="edges"),
        node("Relu", ["edges"], ["rectified"]),
        node("Flatten", ["rectified"], ["flat"]),
        node("Gemm", ["flat", "w", "b"], ["logits"], transB=1, name="decide"),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ],
    [value("picture", 1, 4, 4)],
    [value("probabilities", 2)],
    [floats("k", 2, 1, 3, 3), floats("kb", 2), floats("w", 2, 32), floats("b", 2)],
)
# Three classes.
save(
    "three",
    [
        node("Gemm", ["x", "w", "b"], ["logits"], transB=1),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ],
    [value("x", 4)],
    [value("probabilities", 3)],
    [floats("w", 3, 4), floats("b", 3)],
)
# Two inputs, and two outputs of which one needs only one of them.
save(
    "several",
    [
        node("Gemm", ["x", "w", "b"], ["logit"], transB=1),
        node("Sigmoid", ["logit"], ["alone"]),
        node("Add", ["logit", "y"], ["sum"]),
        node("Sigmoid", ["sum"], ["both"]),
    ],
    [value("x", 4), value("y", 1)],
    [value("alone", 1), value("both", 1)],
    [floats("w", 1, 4), floats("b", 1)],
)
# Its external data is missing.
save(
    "external",
    [node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
    [value("x", 4)],
    [value("y", 1)],
    [floats("w", 1, 4), floats("b", 1)],
    external=True,
)
# Nothing in it can be quantized.
save("plain", [node("Sigmoid", ["x"], ["y"])], [value("x", 1)], [value("y", 1)], [])


def fixed(name, values, kind=np.float32):
    return numpy_helper.from_array(np.array(values, kind), name)


# Logits beyond f32 for large inputs, and then no probability.
save(
    "wild",
    [node("MatMul", ["x", "w"], ["logits"]), node("Softmax", ["logits"], ["y"], axis=1)],
    [value("x", 2)],
    [value("y", 2)],
    [fixed("w", [[9, -9], [9, -9]])],
)
# Unsigned bytes behind a Relu: every 0 has the least code.
save(
    "bytes",
    [
        node("QuantizeLinear", ["x", "s", "middle"], ["xq"]),
        node("DequantizeLinear", ["xq", "s", "middle"], ["xd"]),
        node("DequantizeLinear", ["w1", "s", "zero"], ["w1d"]),
        node("MatMul", ["xd", "w1d"], ["sum"], name="one"),
        node("Relu", ["sum"], ["rectified"]),
        node("QuantizeLinear", ["rectified", "s", "least"], ["rq"]),
        node("DequantizeLinear", ["rq", "s", "least"], ["rd"]),
        node("DequantizeLinear", ["w2", "s", "zero"], ["w2d"]),
        node("MatMul", ["rd", "w2d"], ["logit"], name="two"),
        node("Sigmoid", ["logit"], ["y"]),
    ],
    [value("x", 2)],
    [value("y", 1)],
    [
        fixed("s", 0.05),
        fixed("middle", 128, np.uint8),
        fixed("least", 0, np.uint8),
        fixed("zero", 0, np.int8),
        fixed("w1", [[1, -1], [2, -2]], np.int8),
        fixed("w2", [[1], [1]], np.int8),
    ],
)
