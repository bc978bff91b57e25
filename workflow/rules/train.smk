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
    conda:
        "../envs/frcore.yaml"
    threads: plan.training_threads
    resources:
        gpu=plan.training_gpus,
        mem_mb=plan.training_mib(),
        runtime=1440,
    params:
        frcore=lambda wildcards, output: plan.frcore,
        spec=lambda wildcards, output: plan.run_spec(wildcards.run),
        sources=lambda wildcards, output: plan.source_options("train"),
        key=lambda wildcards: plan.run_key(wildcards.run),
        code=lambda wildcards: plan.run_code(wildcards.run),
        versions=plan.versions,
        data=subpath(input.data, parent=True),
        out=subpath(output.result, parent=True),
    shell:
        "{params.frcore:q} train --spec {params.spec:q} --data {params.data:q}"
        " {params.sources:q} --out {params.out:q} > {log:q} 2>&1"
