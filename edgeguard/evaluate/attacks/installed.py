"""Whether the packages of attacks are there: told before hours of work, not by the first worker that needs one."""

from collections.abc import Iterable
from importlib.util import find_spec

from edgeguard.errors import InputError
from edgeguard.evaluate.attacks.attack import Attack
from edgeguard.evaluate.attacks.external import ArtAttack, AutoAttack
from edgeguard.evaluate.attacks.toolbox import toolbox
from edgeguard.system.extras import how_to_install


def check_installed(attacks: Iterable[Attack]) -> None:
    """Refuse attacks whose package is missing, or has no such attack.

    Raises:
        InputError: which package, and how to get it.
    """
    for attack in attacks:
        if isinstance(attack, AutoAttack) and find_spec("pyautoattack") is None:
            raise InputError(f"{attack.name} needs pyautoattack: {how_to_install('attack')}")
        if not isinstance(attack, ArtAttack):
            continue
        try:
            known = hasattr(toolbox("attacks.evasion"), attack.kind)
        except ImportError as error:
            raise InputError(
                f"{attack.name} needs adversarial-robustness-toolbox: {how_to_install('attack')}"
            ) from error
        if not known:
            raise InputError(f"the Adversarial Robustness Toolbox has no attack {attack.kind}")
