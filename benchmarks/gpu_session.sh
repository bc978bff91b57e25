#!/usr/bin/env bash
# A session on a machine with an NVIDIA GPU, of at most BUDGET seconds: first the tests that need a
# GPU, then measured steps, whose rows are on disk one by one. Run it again to go on.
#
#   benchmarks/gpu_session.sh                             everything that is missing
#   benchmarks/gpu_session.sh --max-rank 2 --peer DIR     options of benchmarks/gpu_session.py
#
# BUDGET=560        seconds for all of it
# TEST_SECONDS=150  seconds for the tests; 0 leaves them out
# PYTHON=python3    used as it is if it has what is needed; otherwise the base of .venv-gpu, which
#                   keeps a torch that sees the GPU
# PIP_ARGS          handed on to pip, such as "--no-index --find-links FOLDER" without a network
# DEVICE=cuda       cpu tries the script out, without the tests, which need a GPU
# FRCORE_TUNE=on    times the kernels' tiles before steps are measured; off takes the static ones
set -euo pipefail
cd "$(dirname "$0")/.."

BUDGET=${BUDGET:-560}
TEST_SECONDS=${TEST_SECONDS:-150}
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cuda}
VENV=.venv-gpu
export PYTHONUNBUFFERED=1

sees_device() {
    [ "$DEVICE" = cpu ] && return
    "$1" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null
}

is_ready() {
    sees_device "$1" && "$1" -c 'import benchmarks.gpu_session, pytest, pytest_timeout' 2>/dev/null
}

make_venv() {
    local options=()
    # A torch that sees the GPU is not replaced by another.
    if sees_device "$PYTHON"; then options+=(--system-site-packages); fi
    "$PYTHON" -m venv "${options[@]}" "$VENV" 2>/dev/null ||
        "$PYTHON" -m venv --clear --without-pip "${options[@]}" "$VENV"
    # shellcheck disable=SC2086  # several arguments in one variable
    "$PYTHON" -m pip --python "$VENV/bin/python" install --quiet ${PIP_ARGS:-} -e '.[test,gpu]'
}

if [ "$DEVICE" != cpu ] && ! sees_device "$PYTHON" && ! nvidia-smi >/dev/null 2>&1; then
    echo "no NVIDIA GPU: neither torch nor nvidia-smi sees one; DEVICE=cpu tries the script out" >&2
    exit 2
fi
if ! is_ready "$PYTHON"; then
    is_ready "$VENV/bin/python" || make_venv
    PYTHON=$VENV/bin/python
fi

tests=0
if [ "$TEST_SECONDS" -gt 0 ] && [ "$DEVICE" != cpu ]; then
    # Only files that have such tests: to collect all of them takes a good part of the time.
    mapfile -t files < <(grep -rl --include='test_*.py' 'mark\.gpu' tests)
    timeout "$TEST_SECONDS" "$PYTHON" -m pytest -m gpu -q -p no:cacheprovider "${files[@]}" || tests=$?
    if [ "$tests" -eq 5 ]; then tests=0; fi # no test needs a GPU
    echo "tests that need a GPU: exit code $tests after $SECONDS s"
fi

# For the measured steps only; the tests choose for themselves.
export FRCORE_TUNE=${FRCORE_TUNE:-on}
"$PYTHON" -m benchmarks.gpu_session --device "$DEVICE" --resume --budget $((BUDGET - SECONDS)) "$@"
# A failed test does not cost the measurements, but it is not forgotten either.
exit "$tests"
