"""Run in a process of its own: SavedModels that would do something else than compute, or more than they say.

python make_hostile_saved.py FOLDER FLAG: one folder for each operator and each change; FLAG is the file that they would
write.
"""

import os
import shutil
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.core.protobuf import saved_model_pb2

folder, flag = Path(sys.argv[1]), sys.argv[2]


def write_file(x):
    tf.io.write_file(flag, "x")
    return x


def print_v2(x):
    tf.print("x", output_stream=f"file://{flag}")
    return x


def summary(x):
    writer = tf.raw_ops.SummaryWriter()
    tf.raw_ops.CreateSummaryFileWriter(writer=writer, logdir=flag, max_queue=1, flush_millis=1, filename_suffix="")
    return x


def py_func(x):
    return tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), x.shape)


def read_file(x):
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32)


def loop(x):
    return tf.while_loop(lambda y: tf.reduce_sum(y) > -1e30, lambda y: y * 1.0, [x])[0]


def random(x):
    return x + tf.random.uniform([1])


found = {
    "WriteFile": write_file,
    "PrintV2": print_v2,
    "CreateSummaryFileWriter": summary,
    "EagerPyFunc": py_func,
    "ReadFile": read_file,
    "While": loop,
    "RandomUniform": random,
}


class Model(tf.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    @tf.function(input_signature=[tf.TensorSpec([1, 32, 32, 3], tf.float32)])
    def __call__(self, x):
        return tf.reduce_mean(self.body(x), axis=[1, 2])


for name, body in found.items():
    module = Model(body)
    tf.saved_model.save(module, str(folder / name), signatures=module.__call__)


class Plain(tf.Module):
    def __init__(self):
        super().__init__()
        self.weight = tf.Variable(tf.ones([3, 3, 3, 4]))

    @tf.function(input_signature=[tf.TensorSpec([1, 32, 32, 3], tf.float32)])
    def part(self, x):
        return tf.nn.relu(x) * tf.constant([1.0, 2.0, 3.0])

    @tf.function(input_signature=[tf.TensorSpec([1, 32, 32, 3], tf.float32)])
    def __call__(self, x):
        return tf.reduce_mean(tf.nn.conv2d(self.part(x), self.weight, 1, "SAME"), axis=[1, 2])


def the_part(meta):
    return next(f for f in meta.graph_def.library.function if "part" in f.signature.name)


def functions_with_parameters(meta):
    """A function that calls twice what it is given, given itself with itself: 2^26 operators."""
    twice = meta.graph_def.library.function.add()
    twice.CopyFrom(the_part(meta))
    twice.signature.name = "twice"
    twice.signature.attr.add(name="g", type="func")
    del twice.node_def[:]
    source = twice.signature.input_arg[0].name
    for number in range(2):
        node = twice.node_def.add(name=f"c{number}", op="PartitionedCall", input=[source])
        node.attr["Tin"].list.type.append(1)
        node.attr["Tout"].list.type.append(1)
        node.attr["f"].placeholder = "g"
        source = f"c{number}:output:0"
    twice.ret[twice.signature.output_arg[0].name] = source
    given = attr_value_pb2.NameAttrList(name=the_part(meta).signature.name)
    for _ in range(26):
        outer = attr_value_pb2.NameAttrList(name="twice")
        outer.attr["g"].func.CopyFrom(given)
        given = outer
    for function in meta.graph_def.library.function:
        for node in function.node_def:
            if "part" in node.attr["f"].func.name:
                node.attr["f"].func.CopyFrom(given)


def a_constant_of_4_tb(meta):
    node = next(n for n in the_part(meta).node_def if n.op == "Const")
    tensor = node.attr["value"].tensor
    tensor.ClearField("tensor_content")
    tensor.ClearField("tensor_shape")
    tensor.float_val[:] = [1.0]
    for _ in range(2):
        tensor.tensor_shape.dim.add(size=1 << 20)
    node.attr.pop("_output_shapes", None)


def an_object_for_a_class(meta):
    root = meta.object_graph_def.nodes[0]
    root.children.add(node_id=root.children[0].node_id, local_name="__class__")


def countless_objects(meta):
    nodes = meta.object_graph_def.nodes
    first = len(nodes)
    for number in range(60_000):
        nodes.add().user_object.identifier = "_generic_user_object"
        nodes[0].children.add(node_id=first + number, local_name=f"o{number}")


changes = {
    "functions with parameters": functions_with_parameters,
    "constant of 4 TB": a_constant_of_4_tb,
    "object for a class": an_object_for_a_class,
    "countless objects": countless_objects,
}
plain = Plain()
tf.saved_model.save(plain, str(folder / "plain"), signatures=plain.__call__)
for name, change in changes.items():
    shutil.copytree(folder / "plain", folder / name)
    model = saved_model_pb2.SavedModel.FromString((folder / "plain" / "saved_model.pb").read_bytes())
    change(model.meta_graphs[0])
    (folder / name / "saved_model.pb").write_bytes(model.SerializeToString())
shutil.copytree(folder / "plain", folder / "link for weights")
(folder / "link for weights" / "variables").rename(folder / "weights elsewhere")
(folder / "link for weights" / "variables").symlink_to(folder / "weights elsewhere")
