"""Trains the StarNets of this folder on scikit-learn's digits, and writes them as ONNX files of standard operators.

    pip install jax onnx onnxruntime scikit-learn
    python make_starnet.py            # about ten minutes on two cores

One network for each published budget of an 8-bit register: so many products, activations of at most so much, weights
of at most so much. The training half is assets/classifier/digits_8/calibration.npy, the held-out half test.npy. The
loss is that of the network in floats plus that of the same weights and activations rounded to the budget, so that one
file serves both; what could leave a register is punished. A Relu is bounded at 1: where the largest value of a layer
is far from the common ones, few codes leave the common ones none (with plain Relus the bits cost two to three points).
"""

import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

HERE = pathlib.Path(__file__).parent
CLASSES = 10
# name: products, largest activation, largest weight; channels, groups of the 1x1 and of the star convolutions.
BUDGETS = {
    "budget_96": dict(products=32, activation=3, weight=1, channels=96, points=3, stars=24),
    "budget_112": dict(products=16, activation=7, weight=1, channels=96, points=6, stars=32),
    "budget_72": dict(products=8, activation=3, weight=3, channels=128, points=16, stars=128),
}
FIRST_WEIGHT = 15  # of the first layer: pixels of 8 bits, registers of 16
REGISTER = 127
BLOCKS = 2
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.float32)


def layers(budget):
    """Name, shape of the weights, stride, groups, largest weight.

    The last star halves the picture; the head sees what is left of a few channels, and its groups are added up behind.
    """
    channels, points, stars = budget["channels"], budget["points"], budget["stars"]
    yield "first", (channels, 1, 3, 3), 2, 1, FIRST_WEIGHT
    for block in range(BLOCKS):
        yield f"point_{block}", (channels, channels // points, 1, 1), 1, points, budget["weight"]
        yield f"star_{block}", (channels, channels // stars, 3, 3), 1 + block, stars, budget["weight"]
    heads = 4 * channels // budget["products"]
    yield "head", (CLASSES * heads, channels // heads, 2, 2), 1, heads, budget["weight"]


def initial(budget, key):
    made = {}
    for name, shape, _, _, _ in layers(budget):
        key, own = jax.random.split(key)
        taps = 5 if shape[2] == 3 else 1
        weights = jax.random.normal(own, shape) * np.sqrt(2 / (shape[1] * taps))
        if name == "first":
            weights = weights / 8
        made[name] = dict(weights=weights, bias=jnp.zeros(shape[0]))
    return made


def through(x, straight):
    """`straight` forwards, the gradient of `x` backwards."""
    return x + jax.lax.stop_gradient(straight - x)


def codes_of(weights, most):
    """Codes and the step, for each output channel, of the least squared error."""
    flat = jax.lax.stop_gradient(weights).reshape(weights.shape[0], -1)
    absmax = jnp.maximum(jnp.abs(flat).max(1), 1e-8)
    shares = jnp.arange(16, 65) / 64
    steps = absmax[None] / most * shares[:, None]
    codes = jnp.clip(jnp.round(flat[None] / steps[..., None]), -most, most)
    error = ((codes * steps[..., None] - flat[None]) ** 2).sum(-1)
    best = steps[error.argmin(0), jnp.arange(flat.shape[0])]
    best = best.reshape(-1, 1, 1, 1)
    codes = jnp.clip(jnp.round(weights / best), -most, most)
    return through(weights / best, codes), best


def convolution(x, weights, stride, groups):
    """Five shifted products for a star, one for a point: grouped convolutions are slow on a CPU."""
    n, c, h, w = x.shape
    out = weights.shape[0]
    size = weights.shape[2]
    taps = [(1, 1), (0, 1), (1, 0), (1, 2), (2, 1)] if size == 3 else list(np.ndindex(size, size))
    edge = int(size == 3)
    x = jnp.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    x = x.reshape(n, groups, c // groups, h + 2 * edge, w + 2 * edge)
    seen = [x[..., i : i + h - (size == 2) : stride, j : j + w - (size == 2) : stride] for i, j in taps]
    kernels = jnp.stack([weights[:, :, i, j] for i, j in taps], 1)
    kernels = kernels.reshape(groups, out // groups, len(taps), c // groups)
    y = jnp.einsum("tngihw,goti->ngohw", jnp.stack(seen), kernels)
    return y.reshape(n, out, *y.shape[3:])


def shuffled(x, groups):
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).transpose(0, 2, 1, 3, 4).reshape(x.shape)


def head_of(x, groups):
    """The mean over groups and places."""
    n, _, h, w = x.shape
    return x.reshape(n, groups, CLASSES, h, w).mean((1, 3, 4))


def floats(params, budget, x):
    for name, shape, stride, groups, _ in layers(budget):
        mask = CROSS if shape[2] == 3 else 1
        x = convolution(x, params[name]["weights"] * mask, stride, groups) + params[name]["bias"][None, :, None, None]
        if name == "head":
            return head_of(x, groups)
        x = jnp.clip(x, 0, 1)
        if name.startswith("star"):
            x = shuffled(x, groups)


def rounded(params, budget, x):
    """The network in the budget; what is beyond the registers."""
    levels = 2 * budget["activation"]
    step, beyond = 1.0, 0.0
    for name, shape, stride, groups, most in layers(budget):
        mask = CROSS if shape[2] == 3 else 1
        codes, weight_step = codes_of(params[name]["weights"] * mask, most)
        unit = step * weight_step[:, 0, 0, 0]
        bias = params[name]["bias"] / unit
        bias = through(bias, jnp.round(bias))
        if name != "first":
            up = jnp.maximum(codes, 0).sum((1, 2, 3)) * levels + bias
            down = jnp.maximum(-codes, 0).sum((1, 2, 3)) * levels - bias
            slack = REGISTER - 1
            beyond += jnp.maximum(up - slack, 0).sum() + jnp.maximum(down - slack, 0).sum()
        x = convolution(x, codes, stride, groups) * weight_step.reshape(1, -1, 1, 1)
        x = x + (bias * unit)[None, :, None, None]
        if name == "head":
            return head_of(x, groups), beyond
        step = 1 / levels
        x = jnp.clip(x, 0, 1)
        x = through(x, jnp.round(x / step) * step)
        if name.startswith("star"):
            x = shuffled(x, groups)


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


def train(budget, x, labels, steps, seed):
    params = initial(budget, jax.random.PRNGKey(seed))
    moments = jax.tree.map(lambda p: (jnp.zeros_like(p), jnp.zeros_like(p)), params)

    def loss(params, x, labels, share):
        teacher = floats(params, budget, x)
        logits, beyond = rounded(params, budget, x)
        taught = -(jax.nn.softmax(jax.lax.stop_gradient(teacher)) * jax.nn.log_softmax(logits)).sum(1).mean()
        own = cross_entropy(logits, labels) + taught + 3e-3 * beyond
        return cross_entropy(teacher, labels) + share * own

    @jax.jit
    def update(params, moments, at, x, labels):
        # The network is first trained in floats alone.
        share = jnp.clip((at - 0.2 * steps) / (0.2 * steps), 0, 1)
        gradient = jax.grad(loss)(params, x, labels, share)
        size = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))
        gradient = jax.tree.map(lambda g: g * jnp.minimum(1, 1 / size), gradient)
        rate = 6e-3 * 0.5 * (1 + jnp.cos(jnp.pi * at / steps))

        def one(p, g, m):
            first, second = 0.9 * m[0] + 0.1 * g, 0.999 * m[1] + 0.001 * g * g
            move = first / (1 - 0.9 ** (at + 1)) / (jnp.sqrt(second / (1 - 0.999 ** (at + 1))) + 1e-8)
            return p - rate * (move + 1e-4 * p), (first, second)

        flat, tree = jax.tree.flatten(params)
        pairs = [one(p, g, m) for p, g, m in zip(flat, jax.tree.leaves(gradient), tree.flatten_up_to(moments))]
        return tree.unflatten([p for p, _ in pairs]), tree.unflatten([m for _, m in pairs])

    random = np.random.default_rng(seed)
    for at in range(steps):
        pick = random.choice(len(x), 128, replace=False)
        images = x[pick].copy()
        # Moved by a pixel, a digit stays one.
        for moved in np.flatnonzero(random.random(len(images)) < 0.3):
            down, right = random.integers(-1, 2, 2)
            images[moved, 0] = np.pad(images[moved, 0], 1)[1 - down : 9 - down, 1 - right : 9 - right]
        params, moments = update(params, moments, at, images, labels[pick])
        if at % 500 == 499:
            print(at + 1, float(loss(params, x, labels, 1.0)), flush=True)
    return params


def write(params, budget, name):
    nodes, constants, x = [], [], "pixels"

    def constant(name, values):
        constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(operator, inputs, output, **attributes):
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    constant("zero", np.float32(0))
    constant("one", np.float32(1))
    for layer, shape, stride, groups, _ in layers(budget):
        kernel = shape[2]
        weights = np.array(params[layer]["weights"], np.float32) * (CROSS if kernel == 3 else 1)
        inputs = [x, constant(f"{layer}.weights", weights)]
        inputs.append(constant(f"{layer}.bias", np.array(params[layer]["bias"], np.float32)))
        window = dict(kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 3] * 4)
        x = node("Conv", inputs, layer, group=groups, **window)
        if layer == "head":
            break
        x = node("Clip", [x, "zero", "one"], f"{layer}.relu")
        if layer.startswith("star"):
            size = shape[0] // groups
            side = 4 // stride
            split = constant(f"{layer}.split", np.array([0, groups, size, side, side]))
            x = node("Reshape", [x, split], f"{layer}.groups")
            x = node("Transpose", [x], f"{layer}.mixed", perm=[0, 2, 1, 3, 4])
            join = constant(f"{layer}.join", np.array([0, shape[0], side, side]))
            x = node("Reshape", [x, join], f"{layer}.shuffle")
    x = node("Reshape", [x, constant("head.split", np.array([0, groups, CLASSES]))], "head.groups")
    x = node("Transpose", [x], "head.classes", perm=[0, 2, 1])
    x = node("GlobalAveragePool", [x], "head.mean")
    x = node("Flatten", [x], "logits")
    node("Softmax", [x], "probability", axis=1)
    graph = helper.make_graph(
        nodes,
        f"starnet {name}",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", CLASSES])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path = HERE / f"{name}.onnx"
    onnx.save(model, path)
    return path


def main():
    digits = load_digits()
    label_of = {tuple(row): label for row, label in zip(digits.data, digits.target)}
    halves = []
    for half in ["calibration", "test"]:
        rows = np.load(HERE / "../classifier/digits_8" / f"{half}.npy")
        labels = np.array([label_of[tuple(map(float, row))] for row in rows], np.int32)
        halves.append((rows.reshape(-1, 1, 8, 8), labels))
    (x, labels), (held_x, held_labels) = halves
    np.save(HERE / "labels.npy", held_labels)
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    only = sys.argv[2:] or list(BUDGETS)
    answers = HERE / "expected.json"
    for name in only:
        budget = BUDGETS[name]
        params = train(budget, x, labels, steps, seed=1)
        logits, beyond = rounded(params, budget, held_x)
        path = write(params, budget, name)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (probability,) = session.run(None, {"pixels": held_x})
        right = lambda scores: int((np.asarray(scores).argmax(1) == held_labels).sum())
        expected = json.loads(answers.read_text()) if answers.exists() else {}
        expected[name] = {
            "rows": len(held_labels),
            "right_in_onnxruntime": right(probability),
            "right_in_training": right(logits),
            "beyond_registers": float(beyond),
            "probability_sum_of_squares": float((probability.astype(np.float64) ** 2).sum()),
        }
        print(name, expected[name], path.stat().st_size, flush=True)
        answers.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
