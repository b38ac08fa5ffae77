"""A deployed classifier of regions: its label from the map of votes, and the proof that stands beside it."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.patch_certificate import PatchCertifier
from edgeguard.model.patch_footprint import Footprint
from edgeguard.model.prediction import Prediction, rank, softmax

_SIZES = 8  # sizes of frames whose footprints are kept


class PatchVotes:
    """The map of votes of a loaded file, and what it proves.

    Args:
        data: of the .tflite.
        contract: which claims the certificate.
        outputs: what the runtime says of the graph's outputs.

    Raises:
        InputError: the graph does not have what the contract claims.
    """

    def __init__(self, data: bytes, contract: Contract, outputs: list[dict[str, Any]]) -> None:
        certificate = contract.patch_certificate
        assert certificate is not None
        spec = contract.input
        try:
            self.certifier = PatchCertifier.of(ModelFile(data), certificate.output, spec.width, spec.height)
        except InputError as error:
            claims = "the contract claims a patch certificate that the graph does not have"
            raise InputError(f"{claims}: {error}") from error
        self._output = certificate.output
        detail = outputs[certificate.output]
        classes = int(np.prod([int(side) for side in outputs[0]["shape"]]))
        shape = tuple(int(side) for side in detail["shape"][1:])
        wanted = len(self.certifier.votes.fields.rows.first), len(self.certifier.votes.fields.columns.first), classes
        if shape != wanted or classes < 2:
            raise InputError(f"the map of votes has the shape {shape}; its graph and its classes want {wanted}")
        self._scale, self._zero_point = detail["quantization"]
        self._footprints: dict[tuple[int, int, str], Footprint | None] = {}

    def integers(self, outputs: tuple[NDArray[np.float32], ...]) -> NDArray[np.int32]:
        """The stored integers of the map, from what `Model.run` gives: exact, since float32 holds every product."""
        return np.rint(outputs[self._output] / np.float32(self._scale)).astype(np.int32) + self._zero_point

    def scores(self, votes: NDArray[np.integer]) -> NDArray[np.float32]:
        """The mean vote of each class, real values, (classes,)."""
        places = votes.shape[0] * votes.shape[1]
        return np.asarray((self.certifier.sums(votes) / places - self._zero_point) * self._scale, np.float32)

    def predict(
        self, outputs: tuple[NDArray[np.float32], ...], contract: Contract, width: int, height: int, count: int
    ) -> Prediction:
        """The best classes, with the largest patch that cannot change the first of them.

        Args:
            outputs: of `Model.run`.
            contract: of the model, its guard included.
            width, height: of what the model's crop was taken from, pixels.
            count: of classes.
        """
        votes = self.integers(outputs)
        found = rank(softmax(self.scores(votes)), contract.labels, count, self.certifier.sums(votes))
        proven = self.certifier.largest(votes, int(found.index or 0))
        footprint = self.footprint(contract, width, height)
        in_frame = None if footprint is None else footprint.largest(proven)
        return replace(found, certified_patch=proven, certified_patch_frame=in_frame)

    def footprint(self, contract: Contract, width: int, height: int) -> Footprint | None:
        """What squares of frames of this size become at the input; None behind a patch guard."""
        guard = contract.guard
        profile = "" if guard.profile is None else guard.profile.sha256
        key = width, height, f"{guard.place} {guard.patch} {profile}"
        if key not in self._footprints:
            if len(self._footprints) >= _SIZES:
                self._footprints.clear()
            try:
                self._footprints[key] = Footprint.of(contract, width, height)
            except InputError:
                self._footprints[key] = None
        return self._footprints[key]
