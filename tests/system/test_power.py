from pathlib import Path

from edgeguard.system.power import read_power


def test_what_the_firmware_says(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("71250\n")
    (tmp_path / "word").write_text("50005\n")
    power = read_power(tmp_path / "temp", tmp_path / "word")
    assert power.celsius == 71.25 and power.slowed
    assert power.now == ("under-voltage", "throttled") == power.since_boot
    (tmp_path / "word").write_text("80000\n")
    power = read_power(tmp_path / "none", tmp_path / "word")
    assert power.celsius is None and not power.slowed and power.since_boot == ("soft temperature limit",)
