#!/usr/bin/env bash
# The package on aarch64 under emulation: the kernel is cross-compiled, the wheel installed with its aarch64
# dependencies into a Debian root, and every digest compared with the ones of this machine. Our picture of libjpeg's
# binary interface is compared with the headers and the library of Debian's arm64 package, and with Pillow's library.
# Needs mmdebstrap, qemu-user-static and g++-aarch64-linux-gnu. Run by `make test-aarch64`.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-.venv/bin/python}
work=build/aarch64
root=$work/root site=$work/site libjpeg=$work/libjpeg
mkdir -p "$work"

for program in mmdebstrap qemu-aarch64-static aarch64-linux-gnu-g++; do
  command -v "$program" >/dev/null || {
    echo "test-aarch64 needs $program (Debian: mmdebstrap qemu-user-static g++-aarch64-linux-gnu)" >&2
    exit 1
  }
done

sources=${EDGEGUARD_DEBIAN_SOURCES:-/etc/apt/sources.list.d/debian.sources}
if [ ! -e "$root/.complete" ]; then
  rm -rf "$root"
  mmdebstrap --quiet --architectures=arm64 --variant=extract \
    --include=python3,libc6,libstdc++6,libgcc-s1,zlib1g,libexpat1,libssl3,libffi8,libbz2-1.0,liblzma5,libsqlite3-0 \
    bookworm "$root" "$sources"
  mkdir -p "$root/proc"
  # LiteRT reads it: without the file XNNPACK is silently not applied, with this machine's it crashes.
  for core in 0 1 2 3; do
    printf 'processor\t: %d\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n' "$core"
    printf 'CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
  done >"$root/proc/cpuinfo"
  touch "$root/.complete"
fi
# A folder of its own: the package is tried on a root without headers, and with Pillow's libjpeg.
if [ ! -e "$libjpeg/.complete" ]; then
  rm -rf "$libjpeg"
  mmdebstrap --quiet --architectures=arm64 --variant=extract --include=libjpeg62-turbo-dev bookworm "$libjpeg" "$sources"
  touch "$libjpeg/.complete"
fi

rm -rf "$work/wheel" "$site"
_PYTHON_HOST_PLATFORM=linux-aarch64 EDGEGUARD_REQUIRE_NATIVE=1 \
  CMAKE_ARGS="-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++" \
  "$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/wheel" .
# Two packages and nothing beside them; the boards inside the first; no header.
"$python" -m zipfile -l "$work"/wheel/edgeguard-*.whl | awk 'NR > 1 { print $1 }' >"$work/contents.txt"
if grep -Ev '^(edgeguard|edgeguard_converters|edgeguard-[^/]+\.dist-info)/' "$work/contents.txt" ||
  grep -E '\.(h|cpp|ijg)$' "$work/contents.txt"; then
  echo "the wheel must not hold these files" >&2
  exit 1
fi
platforms=()
for tag in manylinux2014 manylinux_2_17 manylinux_2_26 manylinux_2_27 manylinux_2_28 manylinux_2_31 manylinux_2_34 \
  manylinux_2_35 manylinux_2_36 linux; do
  platforms+=(--platform "${tag}_aarch64")
done
"$python" -m pip install --quiet --target "$site" --only-binary=:all: --python-version 3.11 --implementation cp \
  --constraint constraints.txt "${platforms[@]}" "$work"/wheel/edgeguard-*.whl

# -idirafter: of that folder only what the cross compiler does not have itself, which are libjpeg's headers.
aarch64-linux-gnu-g++ -std=c++17 -Wall -Wextra -O1 -I edgeguard/dct/native -idirafter "$libjpeg/usr/include" \
  -idirafter "$libjpeg/usr/include/aarch64-linux-gnu" tests/native/check_libjpeg_abi.cpp \
  edgeguard/dct/native/libjpeg_api.cpp -ldl -o "$work/check_libjpeg_abi"
for library in "$libjpeg/usr/lib/aarch64-linux-gnu/libjpeg.so.62" "$site"/pillow.libs/libjpeg-*.so.62*; do
  qemu-aarch64-static -cpu cortex-a72 -L "$root" "$work/check_libjpeg_abi" "$library"
done

"$python" tests/aarch64/digests.py >"$work/expected.json"
"$python" tests/aarch64/frames.py "$work/frames"
run_labels=(-c 'from edgeguard.cli.main import main; main()' run --source "$PWD/$work/frames" --output -)
"$python" "${run_labels[@]}" >"$work/expected.jsonl"
export PYTHONPATH=$PWD/$site PYTHONDONTWRITEBYTECODE=1
emulated=(qemu-aarch64-static -cpu cortex-a72 -L "$PWD/$root" "$PWD/$root/usr/bin/python3.11")
digests=$PWD/tests/aarch64/digests.py expected=$PWD/$work/expected.json
cd "$site" # not the checkout: its edgeguard/ would be found first
"${emulated[@]}" "$digests" --expect "$expected"
"${emulated[@]}" -c 'from edgeguard.cli.main import main; main()' doctor
"${emulated[@]}" -c 'from edgeguard.cli.main import main; main()' firmware show pi5
"${emulated[@]}" -c 'from edgeguard.cli.main import main; main()' run --source edgeguard/demo/assets/clip.avi --json
"${emulated[@]}" "${run_labels[@]}" >"$PWD/../labels.jsonl"
"${emulated[@]}" "${digests%/*}/same_results.py" "${expected%.json}.jsonl" "$PWD/../labels.jsonl"
