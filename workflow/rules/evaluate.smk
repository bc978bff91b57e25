# Evaluation of trained runs, and of models trained elsewhere.


rule evaluate_run:
    """Judge a trained run on all benchmarks: each takes less time than starting the process."""
    input:
        run="results/{study}/runs/{run}/result.json",
        model="results/{study}/runs/{run}/model.pt",
        train="results/{study}/data/train/manifest.json",
        benchmarks=expand(
            "results/{{study}}/data/{benchmark}/manifest.json",
            benchmark=jobs.benchmarks,
        ),
    output:
        numbers=expand(
            "results/{{study}}/evaluation/{{run}}/{benchmark}.json",
            benchmark=jobs.benchmarks,
        ),
        scores=expand(
            "results/{{study}}/evaluation/{{run}}/{benchmark}.npz",
            benchmark=jobs.benchmarks,
        ),
    log:
        "logs/{study}/evaluate/{run}.log",
    benchmark:
        "logs/{study}/evaluate/{run}.tsv"
    priority: 10
    conda:
        "../envs/frcore.yaml"
    threads: jobs.evaluation_threads
    resources:
        gpu=jobs.gpus("evaluation"),
        mem_mb=jobs.evaluation_mib(),
        runtime=240,
    params:
        frcore=lambda wildcards, output: jobs.frcore,
        spec=lambda wildcards, output: jobs.spec_file("evaluation"),
        sources=lambda wildcards, output: jobs.source_options(*jobs.benchmarks),
        key=jobs.key("evaluation"),
        code=lambda wildcards: jobs.evaluation_code(wildcards.run),
        versions=jobs.versions,
        run=subpath(input.run, parent=True),
        train=subpath(input.train, parent=True),
        benchmarks=jobs.benchmark_options(),
        out="results/{study}/evaluation/{run}",
    shell:
        "{params.frcore:q} evaluate --spec {params.spec:q} --run {params.run:q} {params.benchmarks}"
        " {params.sources:q} --train-data {params.train:q} --out {params.out:q} > {log:q} 2>&1"


rule evaluate_model:
    """Judge a model trained elsewhere on one benchmark, which may be large."""
    input:
        benchmark="results/{study}/data/{benchmark}/manifest.json",
    output:
        numbers="results/{study}/evaluation/{model}/{benchmark}.json",
        scores="results/{study}/evaluation/{model}/{benchmark}.npz",
    log:
        "logs/{study}/evaluate/{model}/{benchmark}.log",
    benchmark:
        "logs/{study}/evaluate/{model}/{benchmark}.tsv"
    priority: 10
    conda:
        "../envs/frcore.yaml"
    threads: jobs.evaluation_threads
    resources:
        gpu=jobs.gpus("evaluation"),
        mem_mb=lambda wildcards: jobs.data_mib(wildcards.benchmark),
        runtime=1440,
    params:
        frcore=lambda wildcards, output: jobs.frcore,
        spec=lambda wildcards, output: jobs.spec_file("evaluation"),
        model=lambda wildcards, output: jobs.spec_file("model", wildcards.model),
        sources=lambda wildcards, output: jobs.source_options(wildcards.benchmark),
        key=jobs.key("evaluation"),
        model_key=lambda wildcards: jobs.key("model", wildcards.model),
        signature=lambda wildcards: jobs.model_signature(
            wildcards.model, wildcards.benchmark
        ),
        code=lambda wildcards: jobs.model_code(wildcards.model, wildcards.benchmark),
        versions=jobs.model_versions,
        benchmark=subpath(input.benchmark, parent=True),
        out=subpath(output.numbers, parent=True),
    shell:
        "{params.frcore:q} evaluate --spec {params.spec:q} --model {params.model:q}"
        " --benchmark {params.benchmark:q} {params.sources:q} --out {params.out:q} > {log:q} 2>&1"
