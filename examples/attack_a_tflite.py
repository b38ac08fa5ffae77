"""Attack a deployed .tflite through its own guard, then ask the file itself what it says of the altered frames.

Needs the extra `attack`. Few steps on three frames: it shows the calls and measures nothing. `edgeguard evaluate`
does this with protocols, intervals and stronger attacks.
"""

import numpy as np
import torch

from edgeguard import Sanitizer, load_model
from edgeguard.demo.assets import bundled_model
from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.evaluate import twin
from edgeguard.evaluate.attacks import attack
from edgeguard.scene.views import render, stand_in_views

model = load_model(bundled_model())
assert model.contract.guard.profile is not None
victim = twin(bundled_model(), place="frame")  # the same file in torch, guard included: it can be differentiated

raw = np.stack([render(view, 320, 240) for view in stand_in_views(3)])
received = np.stack([Sanitizer(model.contract.guard.profile)(frame, "first") for frame in raw])  # after pass 1
labels = torch.tensor([model(frame).index for frame in received])

for eps_8bit in (2, 16):
    method = attack("pgd", {"eps_8bit": eps_8bit, "steps": 8})
    altered = to_frames(method(victim, to_levels(received), labels))  # whole levels: what a wire carries
    assert np.abs(altered.astype(int) - received).max() <= eps_8bit
    held = sum(model(frame).index == label for frame, label in zip(altered, labels.tolist(), strict=True))
    print(f"{method.name}: the deployed file keeps its answer on {held} of {len(raw)} frames")
