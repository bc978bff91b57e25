# Data sets in the one format that all later stages read.


rule prepare_data:
    """The training set (`train`) or a benchmark."""
    output:
        manifest="results/{study}/data/{dataset}/manifest.json",
    log:
        "logs/{study}/prepare/{dataset}.log",
    benchmark:
        "logs/{study}/prepare/{dataset}.tsv"
    conda:
        "../envs/frcore.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards: plan.data_mib(wildcards.dataset),
        runtime=240,
    params:
        spec=lambda wildcards: plan.data_spec(wildcards.dataset),
        code=lambda wildcards: plan.data_code(),
        versions=plan.versions,
        out=subpath(output.manifest, parent=True),
    shell:
        "frcore prepare --spec {params.spec:q} --out {params.out:q} > {log:q} 2>&1"
