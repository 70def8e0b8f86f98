"""Makes NAME.onnx for every operator and option, and cases.json: inputs, and what onnxruntime makes of them.

python assets/onnx/make_operators.py (needs numpy, onnx, onnxruntime)
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(4)
cases = {}
TYPES = {"float32": T.FLOAT, "int8": T.INT8, "uint8": T.UINT8, "int32": T.INT32, "int64": T.INT64, "bool": T.BOOL}


def f(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def case(name, shape, nodes, constants=None, opset=13, rows=2, out=T.FLOAT, batch="N", scale=1.0, domains=()):
    """`nodes` are (operator, inputs, attributes): x is the input, each node's output is y0, y1, …, the last one y."""
    constants = constants or {}
    made = []
    for i, (operator, inputs, attributes) in enumerate(nodes):
        output = "y" if i == len(nodes) - 1 else f"y{i}"
        domain = attributes.pop("domain", "")
        made.append(h.make_node(operator, inputs, [output], name=f"{operator}{i}", domain=domain, **attributes))
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = h.make_graph(
        made,
        "g",
        [h.make_tensor_value_info("x", T.FLOAT, [batch, *shape])],
        [h.make_tensor_value_info("y", out, None)],
        tensors,
    )
    opsets = [h.make_opsetid("", opset)] + [h.make_opsetid(d, 1) for d in domains]
    model = h.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="")
    bytes_ = model.SerializeToString()
    (HERE / f"{name}.onnx").write_bytes(bytes_)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(bytes_, options, providers=["CPUExecutionProvider"])
    x = f(rows, *shape, scale=scale)
    (y,) = session.run(None, {"x": x})
    of = lambda a: [float(str(v)) if a.dtype == np.float32 else int(v) for v in a.ravel()]
    cases[name] = {
        "input": {"shape": list(x.shape), "values": of(x)},
        "output": {"shape": list(y.shape), "type": str(y.dtype), "values": of(y)},
    }


# Products.
case("gemm", [3], [("Gemm", ["x", "w", "b"], {})], {"w": f(3, 4), "b": f(4)})
case("gemm_trans_b_alpha_beta", [3], [("Gemm", ["x", "w", "b"], dict(transB=1, alpha=0.5, beta=2.0))], {"w": f(4, 3), "b": f(1, 1)})
case("gemm_no_c", [3], [("Gemm", ["x", "w"], dict(transB=1))], {"w": f(4, 3)}, opset=11)
case("gemm_dynamic_c", [3], [("Relu", ["x"], {}), ("Gemm", ["x", "w", "y0"], {})], {"w": f(3, 3)})
case("matmul", [3], [("MatMul", ["x", "w"], {})], {"w": f(3, 4)})
case("matmul_sequence", [5, 3], [("MatMul", ["x", "w"], {}), ("Relu", ["y0"], {})], {"w": f(3, 4)})
case("matmul_vector", [5, 3], [("MatMul", ["x", "w"], {})], {"w": f(3)})
case("matmul_left", [3, 5], [("MatMul", ["w", "x"], {})], {"w": f(4, 3)})
case("matmul_left_heads", [2, 3, 5], [("MatMul", ["w", "x"], {})], {"w": f(4, 3)})
case("matmul_four_axes", [2, 3, 4], [("MatMul", ["x", "w"], {})], {"w": f(1, 4, 2)})
# Single elements.
for op in ["Add", "Sub", "Mul", "Div"]:
    n = op.lower()
    case(f"{n}_scalar", [2, 3], [(op, ["x", "c"], {})], {"c": np.float32(1.7)})
    case(f"{n}_channel_left", [3, 2, 2], [(op, ["c", "x"], {})], {"c": f(3, 1, 1)})
    case(f"{n}_values", [3, 4], [("Sigmoid", ["x"], {}), (op, ["x", "y0"], {})])
case("add_last_axis", [2, 3], [("Add", ["x", "c"], {})], {"c": f(3)})
case("add_batch_axis", [2, 3], [("Add", ["x", "c"], {})], {"c": f(1, 2, 1)})
case("mul_expands_value", [1, 3], [("Mul", ["x", "c"], {})], {"c": f(2, 1)})
case("mul_expands_both", [4, 1, 3], [("GlobalAveragePool", ["x"], {}), ("Transpose", ["x"], dict(perm=[0, 2, 1, 3])), ("Sigmoid", ["y0"], {}), ("Mul", ["x", "y2"], {})])
case("mul_pair_broadcast", [3, 2], [("Transpose", ["x"], dict(perm=[0, 2, 1])), ("Reshape", ["x", "a"], {}), ("Reshape", ["y0", "b"], {}), ("Mul", ["y1", "y2"], {})], {"a": ints(0, 6, 1), "b": ints(0, 1, 6)})
case("add_five_axes", [2, 1, 2, 2, 2], [("Relu", ["x"], {}), ("Add", ["y0", "c"], {})], {"c": f(2, 1, 2)})
for op in ["Relu", "Sigmoid", "Tanh", "Identity"]:
    case(op.lower(), [3, 4], [(op, ["x"], {})], scale=3.0)
case("clip_attributes", [6], [("Clip", ["x"], dict(min=-0.5, max=0.25))], opset=9)
case("clip_inputs", [6], [("Clip", ["x", "a", "b"], {})], {"a": np.float32(-0.5), "b": np.float32(0.25)})
case("clip_only_max", [6], [("Clip", ["x", "", "b"], {})], {"b": np.float32(0.25)})
case("dropout", [6], [("Dropout", ["x"], {})], opset=12)
case("cast", [6], [("Cast", ["x"], dict(to=T.DOUBLE)), ("Cast", ["y0"], dict(to=T.FLOAT))])
case("cast_constant", [3], [("Cast", ["c"], dict(to=T.FLOAT)), ("Add", ["x", "y0"], {})], {"c": np.array([1, 2, 3], np.int32)})
case("constant_node", [3], [("Constant", [], dict(value=numpy_helper.from_array(f(3)))), ("Mul", ["x", "y0"], {})])
case("constants_folded", [3], [("Div", ["a", "b"], {}), ("Mul", ["x", "y0"], {})], {"a": f(3), "b": np.float32(3.0)})
# Softmax.
case("softmax_last", [5], [("Softmax", ["x"], {})])
case("softmax_channels", [4, 2, 3], [("Softmax", ["x"], dict(axis=1))])
case("softmax_middle", [2, 4, 3], [("Softmax", ["x"], dict(axis=2)), ("Relu", ["y0"], {})])
case("softmax_sequence", [3, 4], [("Softmax", ["x"], dict(axis=-1))])
case("softmax_flattened", [3, 2, 2], [("Softmax", ["x"], {})], opset=11)
case("softmax_flattened_axis_2", [3, 2, 2], [("Softmax", ["x"], dict(axis=2))], opset=11)
# Convolutions.
w2 = dict(w=f(4, 2, 3, 3, scale=0.4), b=f(4))
case("conv", [2, 5, 6], [("Conv", ["x", "w", "b"], {})], w2)
case("conv_pads_strides", [2, 5, 6], [("Conv", ["x", "w", "b"], dict(pads=[1, 0, 2, 1], strides=[2, 1]))], w2)
case("conv_dilations", [2, 7, 6], [("Conv", ["x", "w"], dict(dilations=[2, 1], pads=[1, 1, 1, 1]))], w2)
case("conv_same_upper", [2, 5, 6], [("Conv", ["x", "w", "b"], dict(auto_pad="SAME_UPPER", strides=[2, 2]))], w2)
case("conv_same_lower", [2, 5, 6], [("Conv", ["x", "w", "b"], dict(auto_pad="SAME_LOWER", strides=[2, 2]))], w2)
case("conv_valid", [2, 5, 6], [("Conv", ["x", "w", "b"], dict(auto_pad="VALID"))], w2)
case("conv_groups", [4, 4, 4], [("Conv", ["x", "w"], dict(group=2, pads=[1, 1, 1, 1]))], {"w": f(6, 2, 3, 3, scale=0.4)})
case("conv_depthwise", [3, 4, 4], [("Conv", ["x", "w"], dict(group=3))], {"w": f(3, 1, 2, 2)})
case("conv_signal", [2, 9], [("Conv", ["x", "w", "b"], dict(strides=[2], pads=[1, 2], dilations=[2]))], {"w": f(3, 2, 3), "b": f(3)})
case("conv_batch_normalization", [2, 4, 4], [("Conv", ["x", "w", "b"], {}), ("BatchNormalization", ["y0", "s", "o", "m", "v"], {})], dict(w2, s=f(4), o=f(4), m=f(4), v=np.abs(f(4)) + 0.1))
case("batch_normalization", [3, 4], [("BatchNormalization", ["x", "s", "o", "m", "v"], dict(epsilon=0.01))], {"s": f(3), "o": f(3), "m": f(3), "v": np.abs(f(3))})
# Pools.
case("max_pool", [2, 5, 6], [("MaxPool", ["x"], dict(kernel_shape=[2, 3], strides=[2, 2], pads=[1, 1, 0, 1]))])
case("max_pool_ceil", [2, 5, 6], [("MaxPool", ["x"], dict(kernel_shape=[2, 2], strides=[2, 3], ceil_mode=1))])
case("max_pool_dilations", [1, 7, 7], [("MaxPool", ["x"], dict(kernel_shape=[2, 3], dilations=[3, 2]))])
case("max_pool_same", [2, 5, 6], [("MaxPool", ["x"], dict(kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER"))])
case("max_pool_signal", [2, 7], [("MaxPool", ["x"], dict(kernel_shape=[3], strides=[2], pads=[1, 1]))])
case("average_pool", [2, 5, 6], [("AveragePool", ["x"], dict(kernel_shape=[2, 3], strides=[2, 2], pads=[1, 1, 0, 1]))])
case("average_pool_include_pad", [2, 5, 6], [("AveragePool", ["x"], dict(kernel_shape=[2, 3], strides=[2, 2], pads=[1, 1, 0, 1], count_include_pad=1))])
case("average_pool_ceil", [2, 5, 5], [("AveragePool", ["x"], dict(kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1))])
case("average_pool_ceil_include_pad", [2, 6, 6], [("AveragePool", ["x"], dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1))], opset=19)
case("average_pool_dilations", [1, 6, 6], [("AveragePool", ["x"], dict(kernel_shape=[2, 2], dilations=[2, 3]))], opset=19)
case("global_average_pool", [3, 4, 5], [("GlobalAveragePool", ["x"], {}), ("Flatten", ["y0"], {})])
case("global_average_pool_signal", [3, 5], [("GlobalAveragePool", ["x"], {})])
# Moves.
case("reshape", [3, 4], [("Reshape", ["x", "s"], {}), ("Relu", ["y0"], {})], {"s": ints(-1, 2, 6)})
case("reshape_zero", [3, 4], [("Reshape", ["x", "s"], {})], {"s": ints(0, -1)})
case("reshape_allowzero", [3, 4], [("Reshape", ["x", "s"], dict(allowzero=1))], {"s": ints(-1, 12)}, opset=14)
case("reshape_fixed_batch", [3, 4], [("Reshape", ["x", "s"], {})], {"s": ints(1, -1)}, rows=1, batch=1)
case("flatten", [3, 2, 2], [("Flatten", ["x"], {})])
case("flatten_axis", [1, 2, 3], [("Flatten", ["x"], dict(axis=2))])
case("transpose", [2, 3, 4], [("Transpose", ["x"], dict(perm=[0, 3, 1, 2])), ("Relu", ["y0"], {})])
case("channel_shuffle", [6, 2, 2], [("Reshape", ["x", "a"], {}), ("Transpose", ["y0"], dict(perm=[0, 2, 1, 3, 4])), ("Reshape", ["y1", "b"], {}), ("Relu", ["y2"], {})], {"a": ints(0, 2, 3, 2, 2), "b": ints(0, 6, 2, 2)})
case("concat_channels", [2, 3, 2], [("Relu", ["x"], {}), ("Transpose", ["x"], dict(perm=[0, 1, 2, 3])), ("Concat", ["y0", "y1", "x"], dict(axis=1))])
case("concat_last", [2, 3], [("Relu", ["x"], {}), ("Concat", ["x", "y0"], dict(axis=-1))])
case("squeeze_unsqueeze", [1, 4], [("Squeeze", ["x"], dict(axes=[1])), ("Unsqueeze", ["y0"], dict(axes=[2]))], opset=11)
case("squeeze_unsqueeze_inputs", [1, 4], [("Squeeze", ["x", "a"], {}), ("Unsqueeze", ["y0", "b"], {})], {"a": ints(1), "b": ints(1, 3)})
case("gather_columns", [4, 3], [("Gather", ["x", "i"], dict(axis=1))], {"i": ints(2, -1, 0)})
case("slice_columns", [6, 3], [("Slice", ["x", "a", "b", "c", "d"], {})], {"a": ints(-1), "b": ints(-7), "c": ints(1), "d": ints(-2)})
case("slice_attributes", [6, 3], [("Slice", ["x"], dict(starts=[1], ends=[1000], axes=[1]))], opset=9)
case(
    "flatten_of_pytorch",
    [3, 2, 2],
    [("Shape", ["x"], {}), ("Gather", ["y0", "zero"], dict(axis=0)), ("Unsqueeze", ["y1", "axes"], {}), ("Concat", ["y2", "rest"], dict(axis=0)), ("Reshape", ["x", "y3"], {})],
    {"zero": np.array(0, np.int64), "axes": ints(0), "rest": ints(-1)},
)
case(
    "shape_sliced",
    [3, 4],
    [("Shape", ["x"], {}), ("Slice", ["y0", "a", "b"], {}), ("ConstantOfShape", ["one"], dict(value=numpy_helper.from_array(ints(2)))), ("Concat", ["y1", "y2", "six"], dict(axis=0)), ("Reshape", ["x", "y3"], {})],
    {"a": ints(0), "b": ints(1), "one": ints(1), "six": ints(6)},
)
# Bytes.
i8 = lambda *s: rng.integers(-100, 100, s, np.int8)
u8 = lambda *s: rng.integers(20, 240, s, np.uint8)
z8, zu = np.int8(3), np.uint8(131)
case("quantize_int8", [9], [("QuantizeLinear", ["x", "s", "z"], {})], {"s": np.float32(0.031), "z": z8}, out=T.INT8, scale=2.0)
case("quantize_uint8", [9], [("QuantizeLinear", ["x", "s", "z"], {})], {"s": np.float32(0.031), "z": zu}, out=T.UINT8, scale=2.0)
case("quantize_default", [9], [("QuantizeLinear", ["x", "s"], {})], {"s": np.float32(0.031)}, out=T.UINT8, scale=2.0)
case("quantize_channels", [3, 4], [("QuantizeLinear", ["x", "s", "z"], dict(axis=1)), ("DequantizeLinear", ["y0", "s", "z"], dict(axis=1))], {"s": np.abs(f(3)) * 0.02 + 0.01, "z": i8(3)})
case("quantize_dequantize", [3, 4], [("QuantizeLinear", ["x", "s", "z"], {}), ("DequantizeLinear", ["y0", "s", "z"], {})], {"s": np.float32(0.02), "z": zu})
case("max_pool_bytes", [2, 4, 4], [("QuantizeLinear", ["x", "s", "z"], {}), ("MaxPool", ["y0"], dict(kernel_shape=[2, 2])), ("DequantizeLinear", ["y1", "s", "z"], {})], {"s": np.float32(0.02), "z": zu})
case("cast_bytes", [6], [("QuantizeLinear", ["x", "s", "z"], {}), ("Cast", ["y0"], dict(to=T.FLOAT))], {"s": np.float32(0.02), "z": zu})
q = {"xs": np.float32(0.021), "ys": np.float32(0.0637)}
for kind, z in [("int8", z8), ("uint8", zu)]:
    b = i8 if kind == "int8" else u8
    case(
        f"qlinear_matmul_{kind}", [4],
        [("QuantizeLinear", ["x", "xs", "xz"], {}), ("QLinearMatMul", ["y0", "xs", "xz", "w", "ws", "wz", "ys", "yz"], {})],
        dict(q, xz=z, w=b(4, 3), ws=np.float32(0.0113), wz=z, yz=z), out=TYPES[kind],
    )
    case(
        f"qlinear_conv_{kind}", [2, 4, 4],
        [("QuantizeLinear", ["x", "xs", "xz"], {}), ("QLinearConv", ["y0", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], dict(pads=[1, 1, 1, 1]))],
        dict(q, xz=z, w=b(3, 2, 3, 3), ws=np.float32(0.0043), wz=z, yz=z, b=np.array([200, -300, 50], np.int32)), out=TYPES[kind],
    )
    case(
        f"matmul_integer_{kind}", [4],
        [("QuantizeLinear", ["x", "xs", "xz"], {}), ("MatMulInteger", ["y0", "w", "xz", "wz"], {}), ("Cast", ["y1"], dict(to=T.FLOAT)), ("Mul", ["y2", "s"], {})],
        dict(q, xz=zu, w=b(4, 3), wz=z, s=np.float32(0.0013)),
    )
case(
    "qlinear_matmul_sequence", [3, 4],
    [("QuantizeLinear", ["x", "xs", "xz"], {}), ("QLinearMatMul", ["y0", "xs", "xz", "w", "ws", "wz", "ys", "yz"], {})],
    dict(q, xz=z8, w=i8(4, 2), ws=np.float32(0.0113), wz=z8, yz=z8), out=T.INT8,
)
case(
    "qlinear_conv_channels", [2, 4, 4],
    [("QuantizeLinear", ["x", "xs", "xz"], {}), ("QLinearConv", ["y0", "xs", "xz", "w", "ws", "wz", "ys", "yz"], dict(group=2, strides=[2, 1]))],
    dict(q, xz=z8, w=i8(4, 1, 2, 2), ws=np.array([0.011, 0.02, 0.005, 0.013], np.float32), wz=np.zeros(4, np.int8), yz=z8), out=T.INT8,
)
case(
    "matmul_integer_sequence", [3, 4],
    [("QuantizeLinear", ["x", "xs", "xz"], {}), ("MatMulInteger", ["y0", "w", "xz"], {}), ("Cast", ["y1"], dict(to=T.FLOAT))],
    dict(q, xz=z8, w=i8(4, 2)),
)
ws = np.array([0.011, 0.02, 0.005], np.float32)
wz = np.zeros(3, np.int8)
weights = lambda axis: ("DequantizeLinear", ["w", "ws", "wz"], dict(axis=axis))
qx = [("QuantizeLinear", ["x", "xs", "xz"], {}), ("DequantizeLinear", ["y0", "xs", "xz"], {})]
case(
    "qdq_gemm_relu", [4],
    [*qx, weights(0), ("DequantizeLinear", ["b", "bs"], dict(axis=0)), ("Gemm", ["y1", "y2", "y3"], dict(transB=1)), ("Relu", ["y4"], {}), ("QuantizeLinear", ["y5", "ys", "yz"], {})],
    dict(q, xz=z8, yz=z8, w=i8(3, 4), ws=ws, wz=wz, b=np.array([200, -300, 50], np.int32), bs=ws * q["xs"]), out=T.INT8,
)
case(
    "qdq_conv_clip", [2, 4, 4],
    [*qx, weights(0), ("Conv", ["y1", "y2", "b"], dict(pads=[1, 1, 1, 1])), ("Clip", ["y3", "lo", "hi"], {}), ("QuantizeLinear", ["y4", "ys", "yz"], {})],
    dict(q, xz=zu, yz=zu, w=i8(3, 2, 3, 3), ws=ws, wz=wz, b=(np.array([20, -30, 5], np.float32) * ws * q["xs"]), lo=np.float32(0), hi=np.float32(6)), out=T.UINT8,
)
case(
    "qdq_matmul_sequence", [3, 4],
    [*qx, weights(1), ("MatMul", ["y1", "y2"], {}), ("QuantizeLinear", ["y3", "ys", "yz"], {})],
    dict(q, xz=zu, yz=zu, w=i8(4, 3), ws=ws, wz=wz), out=T.UINT8,
)
case(
    "qdq_scaled", [4],
    [*qx, weights(1), ("MatMul", ["y1", "y2"], {}), ("Sigmoid", ["y3"], {})],
    dict(q, xz=zu, w=i8(4, 3), ws=ws, wz=wz),
)
case(
    "qdq_weights_only", [4],
    [("DequantizeLinear", ["w", "ws", "wz"], dict(axis=1)), ("MatMul", ["x", "y0"], {})],
    dict(w=u8(4, 3), ws=ws, wz=u8(3)),
)
# scikit-learn's.
case("scaler", [3], [("Scaler", ["x"], dict(domain="ai.onnx.ml", offset=[1.0, -2.0, 0.5], scale=[2.0, 0.25, 1.5]))], domains=["ai.onnx.ml"])
case("opset_21", [3], [("Gemm", ["x", "w"], {}), ("Softmax", ["y0"], {})], {"w": f(3, 4)}, opset=21)
# The same elements with another height and width, in front of windows and behind them.
picture = ("Reshape", ["x", "s"], {})
case("conv_of_reshaped_signal", [3, 20], [picture, ("Conv", ["y0", "w"], dict(pads=[1, 1, 1, 1]))], {"s": ints(0, 3, 4, 5), "w": f(2, 3, 3, 3)})
case("conv_point_of_reshaped_picture", [3, 4, 5], [picture, ("Conv", ["y0", "w"], {})], {"s": ints(0, 3, -1), "w": f(2, 3, 1)})
case("max_pool_of_reshaped_signal", [3, 20], [picture, ("MaxPool", ["y0"], dict(kernel_shape=[2, 3]))], {"s": ints(0, 3, 4, 5)})
case("average_pool_of_reshaped_picture", [3, 4, 5], [picture, ("AveragePool", ["y0"], dict(kernel_shape=[3]))], {"s": ints(0, 3, -1)})
case(
    "conv_reshape_relu", [3, 4, 5],
    [("Conv", ["x", "w"], dict(pads=[1, 1, 1, 1])), ("Reshape", ["y0", "s"], {}), ("Relu", ["y1"], {}), ("MaxPool", ["y2"], dict(kernel_shape=[3]))],
    {"w": f(2, 3, 3, 3), "s": ints(0, 2, -1)},
)
case(
    "qdq_conv_of_reshaped_picture", [3, 4, 5],
    [*qx, ("Reshape", ["y1", "s"], {}), ("DequantizeLinear", ["w", "ws", "wz"], dict(axis=0)), ("Conv", ["y2", "y3"], {})],
    dict(xs=np.float32(0.05), xz=zu, s=ints(0, 3, -1), w=i8(3, 3, 2), ws=ws, wz=wz),
)
# Padding behind three channels must not become infinite where a product reads it.
case("div_gemm", [3], [("Sub", ["x", "m"], {}), ("Div", ["y0", "d"], {}), ("Gemm", ["y1", "w"], {})], {"m": f(3), "d": np.abs(f(3)) + 0.5, "w": f(3, 2)})
case("div_reversed_gemm", [3], [("Sigmoid", ["x"], {}), ("Div", ["c", "y0"], {}), ("Gemm", ["y1", "w"], {})], {"c": np.float32(0.3), "w": f(3, 2)})
# As many classes as places.
case("softmax_square", [4, 4], [("Softmax", ["x"], {})])
case("softmax_square_flattened", [4, 4], [("Softmax", ["x"], dict(axis=2))], opset=11)
case("concat_seven", [3], [("Relu", ["x"], {}), ("Sigmoid", ["x"], {}), ("Concat", ["x", "y0", "y1", "x", "x", "y1", "y0"], dict(axis=1))])

(HERE / "cases.json").write_text(
    "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in cases.items()) + "\n}\n"
)
print(len(cases), "cases,", sum(p.stat().st_size for p in HERE.glob("*.onnx")), (HERE / "cases.json").stat().st_size)
