# One run: backbone × head × sampler × seed.


rule train_backbone:
    """Train; checkpoint.pt is no declared output, so that a killed run goes on where it was."""
    input:
        data="results/{study}/data/train/manifest.json",
    output:
        result="results/{study}/runs/{run}/result.json",
        model="results/{study}/runs/{run}/model.pt",
        metrics="results/{study}/runs/{run}/metrics.jsonl",
        diagnostics="results/{study}/runs/{run}/diagnostics.json",
    log:
        "logs/{study}/train/{run}.log",
    benchmark:
        "logs/{study}/train/{run}.tsv"
    priority: 10
    conda:
        "../envs/frcore.yaml"
    threads: jobs.training_threads
    resources:
        gpu=jobs.gpus("training"),
        mem_mb=lambda wildcards, input: jobs.training_mib(input.data),
        runtime=1440,
    params:
        frcore=lambda wildcards, output: jobs.frcore,
        spec=lambda wildcards, output: jobs.spec_file("run", wildcards.run),
        sources=lambda wildcards, output: jobs.source_options("train"),
        key=lambda wildcards: jobs.key("run", wildcards.run),
        code=lambda wildcards: jobs.run_code(wildcards.run),
        versions=jobs.versions,
        data=subpath(input.data, parent=True),
        out=subpath(output.result, parent=True),
    shell:
        "{params.frcore:q} train --spec {params.spec:q} --data {params.data:q}"
        " {params.sources:q} --out {params.out:q} > {log:q} 2>&1"
