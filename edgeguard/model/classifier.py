"""What a classifier is: a model that answers a picture with one score for each class."""

import os

from edgeguard.errors import InputError
from edgeguard.model.interpreter import Model


def require_classifier(model: Model, path: str | os.PathLike[str], wanted: str) -> None:
    """Refuse a model whose output is not one score for each class.

    Args:
        model: the loaded file.
        path: of it, for the message.
        wanted: what is wanted instead, to end the message.

    Raises:
        InputError: a detector, or a model that segments or finds poses.
    """
    if model.contract.task != "classify":
        raise InputError(f"{path} is a detector; {wanted}")
    shape = model.output_shapes[0]
    if model.classes != max(shape) or model.classes < 2:
        values = "x".join(map(str, shape[1:])) or "1"
        raise InputError(
            f"{path} answers a picture with {values} values, not with one score for each class (it segments, or finds "
            f"points or poses); {wanted}"
        )
