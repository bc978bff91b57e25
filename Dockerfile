# frcore with its workflow; where torch finds a GPU it uses it.
#   docker build -t frcore .                                            # torch's wheels of PyPI, which bring CUDA
#   docker build -t frcore --build-arg PIP_ARGS="--extra-index-url URL" .         # such as CPU-only wheels
#   docker build -t frcore --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 .
#   docker run --rm --init --gpus all --shm-size 2g -v "$PWD":/study frcore \
#       snakemake --snakefile /opt/frcore/Snakefile --cores all --configfile study.yaml
#   apptainer build frcore.sif docker-daemon:frcore:latest              # for clusters; then `apptainer exec --nv`
# A Debian or Ubuntu with Python 3.11 or newer.
ARG BASE=debian:bookworm-slim
FROM ${BASE}

# Triton compiles its launchers where it runs: gcc and Python's headers. git: what a result was made from.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        gcc git libc6-dev make python3 python3-dev python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*

ARG PIP_ARGS=""
WORKDIR /opt/frcore
ENV PATH=/opt/frcore/.venv/bin:$PATH PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1

# The environment first: a change of the code does not install torch again.
COPY pyproject.toml constraints.txt README.md LICENSE ./
# hadolint ignore=SC2086
RUN python3 -m venv .venv \
    && mkdir frcore && touch frcore/__init__.py frcore/py.typed \
    && pip install ${PIP_ARGS} --constraint constraints.txt --editable ".[slurm,gpu]"
COPY . .

RUN mkdir /study && chown 1000:1000 /study
USER 1000
WORKDIR /study
ENV HOME=/study
CMD ["frcore", "doctor"]
