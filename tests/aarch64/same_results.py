"""Two files of results say the same of the same frames: python tests/aarch64/same_results.py A.jsonl B.jsonl"""

import json
import sys
from pathlib import Path


def read(path: str) -> list[tuple[str, str, int, float, str]]:
    """What a result says, without times and ages."""
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [(line["source"], line["label"], line["index"], line["score"], line["profile"]) for line in lines]


a, b = read(sys.argv[1]), read(sys.argv[2])
assert a and a == b, f"{a}\n{b}"
print(f"edgeguard run: the same labels and scores on {len(a)} frames")
