"""The process that runs a bundle's golden images: what its model breaks is this process."""

import resource
import sys
from pathlib import Path

from edgeguard.errors import EdgeGuardError

_MEMORY_BYTES = 2 << 30


def main() -> int:
    """`python -m edgeguard.fleet.golden_child FOLDER`: 0 and a line, or an error's exit code and a line."""
    from edgeguard.fleet.archive import MANIFEST
    from edgeguard.fleet.golden import check
    from edgeguard.fleet.manifest import EXPECTED, parse_manifest
    from edgeguard.run.settings import read_file

    folder = Path(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        manifest = parse_manifest((folder / MANIFEST).read_bytes())
        read_file(folder / "config.toml")
        count = check(folder, manifest.golden, EXPECTED, manifest.golden_tolerance)
    except EdgeGuardError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return error.exit_code
    print(f"{count} golden images, all the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
