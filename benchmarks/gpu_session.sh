#!/usr/bin/env bash
# A session on a machine with an NVIDIA GPU, of at most BUDGET seconds: first the tests that need a
# GPU, then measured steps, whose rows are on disk one by one. Run it again to go on.
#
#   benchmarks/gpu_session.sh                             everything that is missing
#   benchmarks/gpu_session.sh --short                     what matters most, in at most 540 s
#   benchmarks/gpu_session.sh --max-rank 2 --peer DIR     options of benchmarks/gpu_session.py
#
# It makes no environment and needs no network: it runs in the environment that has torch.
#
# PYTHON=python3    of that environment
# WHEELS=wheels     folder of wheels that it lacks (docs/measuring.md says which), installed for this
#                   call alone, beside what it has; nothing of it is replaced
# BUDGET=560        seconds for all of it; 540 with --short
# TEST_SECONDS=150  seconds for the tests, 60 with --short; 0 leaves them out
# DEVICE=cuda       cpu tries the script out, without the tests, which need a GPU; with
#                   TRITON_INTERPRET=1 the kernels too
# FRCORE_TUNE=on    times the kernels' tiles before steps are measured; off takes the static ones.
#                   With --short, static tiles come first and tuned ones last
# OUT=results/reference    where the rows go
set -euo pipefail
cd "$(dirname "$0")/.."

SHORT=0
if [ "${1:-}" = --short ]; then
    SHORT=1
    shift
fi
BUDGET=${BUDGET:-$((SHORT ? 540 : 560))}
TEST_SECONDS=${TEST_SECONDS:-$((SHORT ? 60 : 150))}
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cuda}
WHEELS=${WHEELS:-wheels}
OUT=${OUT:-results/reference}
export PYTHONUNBUFFERED=1 PYTHONPATH=${PYTHONPATH:-}

SITE=$(mktemp -d)
trap 'rm -rf "$SITE"' EXIT

import_all() { "$PYTHON" -c 'import benchmarks.gpu_session, pytest, pytest_timeout'; }

if compgen -G "$WHEELS/*.whl" >/dev/null; then
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
        --disable-pip-version-check --root-user-action ignore --target "$SITE" "$WHEELS"/*.whl
    # Behind what is there: wheels fill gaps.
    PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$SITE
fi
if ! import_all; then
    echo "$PYTHON lacks the module named above, and $WHEELS/ has no wheel of it; with a network:" \
        "$PYTHON -m pip install -e '.[test,gpu]'; without: docs/measuring.md, \"A session on a GPU\"" >&2
    exit 2
fi
# The first thing to know of a machine that is lent for minutes.
"$PYTHON" -m benchmarks.session.machine "$DEVICE"

left() { echo $((BUDGET - SECONDS)); }
measure() {
    "$PYTHON" -m benchmarks.gpu_session --device "$DEVICE" --resume --budget "$(left)" \
        --out "$OUT" "$@"
}

# One training, its evaluation and one measurement of config/gpu.yaml, each by the command that a
# rule runs; Snakemake is not needed.
small_study() {
    local name=iresnet50-arcface-full-s0 training='epochs: 1, batch_size: 64'
    local measurement='identities: [10000]' config=(name=gpu_small 'samplers=[full]'
        'train={identities: 500, images: 8}'
        'benchmarks={pairs: {identities: 60, images: 4, pairs: 300}}')
    if [ "$DEVICE" = cpu ]; then
        name=tiny-arcface-full-s0
        training+=', device: cpu, precision: fp32'
        measurement+=', device: cpu, precision: fp32, dim: 16'
        config+=('backbones=[tiny]' 'image={size: 32}')
    fi
    config+=("training={$training}" "measurement={$measurement}")
    frcore() {
        timeout "$(left)" "$PYTHON" -m frcore "$@" --study config/gpu.yaml "${config[@]/#/--config=}"
    }
    frcore prepare && frcore prepare --benchmark pairs && frcore train --run "$name" &&
        frcore evaluate --run "$name" --benchmark pairs &&
        frcore measure --head arcface --sampler full
}

tests=0
if [ "$TEST_SECONDS" -gt 0 ] && [ "$DEVICE" != cpu ]; then
    # Only files that have such tests: to collect all of them takes a good part of the time.
    mapfile -t files < <(grep -rl --include='test_*.py' 'mark\.gpu' tests)
    options=(-m gpu -q -p no:cacheprovider)
    if [ "$SHORT" = 1 ]; then files=(tests/loss/test_triton_gpu.py); fi
    # Most of their time goes into compiling kernels, on the CPU.
    if "$PYTHON" -c 'import xdist' 2>/dev/null; then options+=(-n 8); fi
    timeout "$TEST_SECONDS" "$PYTHON" -m pytest "${options[@]}" "${files[@]}" || tests=$?
    if [ "$tests" -eq 5 ]; then tests=0; fi # no test needs a GPU
    echo "tests that need a GPU: exit code $tests after $SECONDS s"
fi

# FRCORE_TUNE is for the measured steps only; the tests choose for themselves.
if [ "$SHORT" = 0 ]; then
    FRCORE_TUNE=${FRCORE_TUNE:-on} measure "$@"
else
    grid=short
    if [ "$DEVICE" = cpu ]; then grid=short_tiny; fi
    FRCORE_TUNE=off measure --grid "$grid" --limit 60 "$@"
    # Tuned tiles are other conditions, so their rows are in a folder of their own.
    # Starting either takes seconds, too.
    if [ "$(left)" -gt 45 ]; then
        FRCORE_TUNE=on measure --grid "$grid" --limit 60 --out "$OUT/tuned" --only triton "$@" ||
            echo "tuned tiles: exit code $?"
    fi
    if [ "$(left)" -gt 45 ]; then
        small_study || echo "config/gpu.yaml in small: exit code $?"
    fi
fi
echo "ended after $SECONDS of $BUDGET s"
# A failed test does not cost the measurements, but it is not forgotten either.
exit "$tests"
