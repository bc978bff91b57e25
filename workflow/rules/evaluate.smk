# One trained run on all benchmarks: each takes less time than starting the process.


rule evaluate_run:
    """Judge a trained run on every benchmark of the study."""
    input:
        run="results/{study}/runs/{run}/result.json",
        model="results/{study}/runs/{run}/model.pt",
        train="results/{study}/data/train/manifest.json",
        benchmarks=expand(
            "results/{{study}}/data/{benchmark}/manifest.json",
            benchmark=plan.benchmarks,
        ),
    output:
        numbers=expand(
            "results/{{study}}/evaluation/{{run}}/{benchmark}.json",
            benchmark=plan.benchmarks,
        ),
        scores=expand(
            "results/{{study}}/evaluation/{{run}}/{benchmark}.npz",
            benchmark=plan.benchmarks,
        ),
    log:
        "logs/{study}/evaluate/{run}.log",
    benchmark:
        "logs/{study}/evaluate/{run}.tsv"
    conda:
        "../envs/frcore.yaml"
    threads: plan.study.training.threads
    resources:
        gpu=plan.training_gpus,
        mem_mb=plan.evaluation_mib(),
        runtime=240,
    params:
        spec=plan.evaluation_spec(),
        code=lambda wildcards: plan.evaluation_code(wildcards.run),
        versions=plan.versions,
        run=subpath(input.run, parent=True),
        train=subpath(input.train, parent=True),
        benchmarks=plan.benchmark_options(),
        out="results/{study}/evaluation/{run}",
    shell:
        "frcore evaluate --spec {params.spec:q} --run {params.run:q} {params.benchmarks}"
        " --train-data {params.train:q} --out {params.out:q} > {log:q} 2>&1"
