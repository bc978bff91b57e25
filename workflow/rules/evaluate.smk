# One trained run on one benchmark.


rule evaluate_run:
    input:
        run="results/{study}/runs/{run}/result.json",
        model="results/{study}/runs/{run}/model.pt",
        benchmark="results/{study}/data/{benchmark}/manifest.json",
        train="results/{study}/data/train/manifest.json",
    output:
        numbers="results/{study}/evaluation/{run}/{benchmark}.json",
        scores="results/{study}/evaluation/{run}/{benchmark}.npz",
    log:
        "logs/{study}/evaluate/{run}/{benchmark}.log",
    benchmark:
        "logs/{study}/evaluate/{run}/{benchmark}.tsv"
    conda:
        "../envs/frcore.yaml"
    threads: plan.study.training.threads
    resources:
        gpu=plan.training_gpus,
        mem_mb=lambda wildcards: plan.data_mib(wildcards.benchmark),
        runtime=240,
    params:
        spec=plan.evaluation_spec(),
        code=lambda wildcards: plan.evaluation_code(wildcards.run),
        versions=plan.versions,
        run=subpath(input.run, parent=True),
        benchmark=subpath(input.benchmark, parent=True),
        train=subpath(input.train, parent=True),
    shell:
        "frcore evaluate --spec {params.spec:q} --run {params.run:q}"
        " --benchmark {params.benchmark:q} --train-data {params.train:q}"
        " --out {output.numbers:q} > {log:q} 2>&1"
