"""The configuration of a Keras model: only layers, initializers and the like that are on a list.

Keras imports whatever module and class a configuration names, in its safe mode too where a name looks like its own; a
Lambda layer is code, and some layers read files that their configuration names. What is handed on is built anew.
"""

import re
from typing import Any

from edgeguard.errors import InputError
from edgeguard_converters.load.refused import PickleRefused

_LAYERS_LISTED = """
     Activation ActivityRegularization Add AlphaDropout Average AveragePooling1D AveragePooling2D BatchNormalization
CenterCrop Concatenate Conv1D Conv2D Conv2DTranspose Cropping2D Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout
ELU     Embedding Flatten GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
GlobalMaxPooling1D     GlobalMaxPooling2D GroupNormalization Identity InputLayer LayerNormalization LeakyReLU
MaxPooling1D MaxPooling2D Maximum     Minimum MultiHeadAttention Multiply Normalization PReLU Permute ReLU
RepeatVector Rescaling Reshape Resizing     SeparableConv1D SeparableConv2D Softmax SpatialDropout1D
SpatialDropout2D Subtract TimeDistributed UnitNormalization     UpSampling1D UpSampling2D ZeroPadding1D
ZeroPadding2D
"""
_OTHERS_LISTED = """
     Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform
Ones Orthogonal     OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros L1 L2
L1L2 OrthogonalRegularizer     MaxNorm MinMaxNorm NonNeg UnitNorm DTypePolicy FloatDTypePolicy Policy
"""
_MODELS = frozenset({"Sequential", "Functional", "Model"})
_CLASSES = frozenset(_LAYERS_LISTED.split()) | frozenset(_OTHERS_LISTED.split()) | _MODELS
_MODULES = re.compile(
    r"(tf_?)?keras(\.src)?(\.(layers|initializers|regularizers|constraints|dtype_policies|models|engine))?"
    r"(\.(functional|sequential|convolutional|pooling|core|normalization|activations|activation|merging|reshaping"
    r"|regularization|attention|dtype_policy|input_layer|training))*"
)
_ACTIVATIONS_LISTED = """
     celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
log_sigmoid     log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus
squareplus swish     tanh tanh_shrink threshold
"""
_ACTIVATIONS = frozenset(_ACTIVATIONS_LISTED.split())
_LEFT_BEHIND = frozenset(
    {
        *("compile_config", "registered_name", "shared_object_id", "build_config", "optimizer", "loss", "metrics"),
        *("quantization_config", "vocabulary", "preprocessor", "assets"),
    }
)
_SPECIAL = frozenset({"__keras_tensor__", "__tuple__"})
_TEXT = re.compile(r"[\w .:+\-/=,()]{0,300}")
_MOST_VALUES = 2_000_000
#: Calls of layers when the models within a model are written out; each is called as often as it is connected.
_MOST_CALLS = 100_000


def checked_config(config: Any) -> Any:
    """The configuration, built anew.

    Raises:
        PickleRefused: it names something that is not on the lists, or its models call each other too often.
    """
    left = [_MOST_VALUES]
    try:
        found = _value(config, "", left)
        _calls(found)
        return found
    except RecursionError as error:
        raise PickleRefused("the model's configuration is nested too deeply; refused") from error


def _calls(value: Any) -> int:
    """How many layers run when a layer or a model runs once.

    A model within a model stands once in the file and runs as often as it is connected: forty within each other, each
    connected twice, are 2^40 layers.
    """
    if isinstance(value, list):
        return sum(map(_calls, value))
    if not isinstance(value, dict):
        return 0
    connected = value.get("inbound_nodes")
    times = max(1, len(connected)) if isinstance(connected, (list, dict)) else 1
    within = sum(_calls(item) for key, item in value.items() if key != "inbound_nodes")
    calls = times * (within + ("class_name" in value))
    if calls > _MOST_CALLS:
        raise PickleRefused(
            f"the models within the model are connected too often (they would be {calls:.0e} layers); refused, it was "
            "not run"
        )
    return calls


def _value(value: Any, key: str, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise PickleRefused("the model's configuration is larger than one is; refused")
    if isinstance(value, dict):
        return _object(value, left)
    if isinstance(value, list):
        return [_value(item, key, left) for item in value]
    if isinstance(value, str):
        return _word(value, key)
    if isinstance(value, int) and abs(value) > 1 << 40:
        raise PickleRefused(f"the model's configuration holds the number {str(value)[:30]}; refused")
    return value


def _object(value: dict[str, Any], left: list[int]) -> dict[str, Any]:
    name = value.get("class_name")
    if name is not None:
        if name == "function":
            return _function(value)
        if not isinstance(name, str) or (name not in _CLASSES and name not in _SPECIAL):
            what = "a Lambda layer, which is code" if name == "Lambda" else f"the class {str(name)[:60]!r}"
            raise PickleRefused(f"the model holds {what}, which is not allowed; refused, it was not run")
        module = value.get("module")
        if module is not None and not (isinstance(module, str) and _MODULES.fullmatch(module)):
            raise PickleRefused(f"the model takes {str(name)[:60]!r} from {str(module)[:60]!r}; refused")
        if value.get("registered_name") not in (None, name, "Functional", "Sequential"):
            raise PickleRefused(f"the model holds a class that it registers itself: {str(name)[:60]!r}; refused")
    elif "module" in value or any(str(key).startswith("__") for key in value):
        raise PickleRefused("the model's configuration names a module without a class; refused")
    if value.get("training") is True:
        raise InputError(
            "the model calls a layer with training=True, so that it normalizes by the batch or drops values at random "
            "for ever: build it without, the weights can stay"
        )
    return {
        _key(key): None if key in ("registered_name", "quantization_config") else _value(item, key, left)
        for key, item in _without_old_keys(value).items()
        if key not in _LEFT_BEHIND or key in ("registered_name", "quantization_config")
    }


def _without_old_keys(value: dict[str, Any]) -> dict[str, Any]:
    """A layer without the keys that Keras 2 wrote and Keras 3 refuses, where they say what is so anyway."""
    config, name = value.get("config"), str(value.get("class_name"))
    if not isinstance(config, dict) or not name.startswith(("DepthwiseConv", "SeparableConv")):
        return value
    gone = {key for key in ("kernel_initializer", "kernel_regularizer", "kernel_constraint") if key in config}
    if config.get("groups") == 1:
        gone.add("groups")
    return {**value, "config": {key: item for key, item in config.items() if key not in gone}}


def _function(value: dict[str, Any]) -> dict[str, Any]:
    """A function that stands where a name could: one of the activations."""
    named = value.get("config")
    if not isinstance(named, str) or named not in _ACTIVATIONS:
        raise PickleRefused(f"the model names the function {str(named)[:60]!r}; refused, it was not run")
    return {"module": "keras.activations", "class_name": "function", "config": named, "registered_name": named}


def _word(value: str, key: str) -> str:
    if "activation" in key and value not in _ACTIVATIONS:
        raise PickleRefused(f"the model names the activation {value[:60]!r}, which is not on the list; refused")
    if not _TEXT.fullmatch(value) or ".." in value or value.startswith(("/", "~")) or "://" in value:
        raise PickleRefused(f"the model's configuration holds the text {value[:60]!r}; refused")
    return value


def _key(key: str) -> str:
    if not re.fullmatch(r"\w{1,100}", key):
        raise PickleRefused(f"the model's configuration holds the key {key[:60]!r}; refused")
    return key
