"""Models on the device: the contract inside the file, the interpreter, predictions."""

from edgeguard.model.contract import Contract, ContractGuard, InputSpec, Preprocess
from edgeguard.model.interpreter import Model, load_model
from edgeguard.model.prediction import Prediction, Score

__all__ = ["Contract", "ContractGuard", "InputSpec", "Model", "Prediction", "Preprocess", "Score", "load_model"]
