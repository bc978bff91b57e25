# Data sets in the common format that all later stages read.
#
# Here as in all rules: `key` is the meaning of a spec and `signature` the content of the files, and a
# change in either repeats the job. `frcore` and `spec` contain paths of this machine. They take
# `output` as an argument only because Snakemake does not compare parameters that depend on it.


rule prepare_data:
    """The training set (`train`) or a benchmark."""
    output:
        manifest="results/{study}/data/{dataset}/manifest.json",
    log:
        "logs/{study}/prepare/{dataset}.log",
    benchmark:
        "logs/{study}/prepare/{dataset}.tsv"
    priority: 20  # the longest way to the report; measurements are exclusive and come last
    conda:
        "../envs/frcore.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards: jobs.data_mib(wildcards.dataset),
        runtime=240,
    params:
        frcore=lambda wildcards, output: jobs.frcore,
        spec=lambda wildcards, output: jobs.spec_file("data", wildcards.dataset),
        key=lambda wildcards: jobs.key("data", wildcards.dataset),
        signature=lambda wildcards: jobs.data_signature(wildcards.dataset),
        code=lambda wildcards: jobs.data_code(wildcards.dataset),
        versions=jobs.versions,
        out=subpath(output.manifest, parent=True),
    shell:
        "{params.frcore:q} prepare --spec {params.spec:q} --signature {params.signature}"
        " --out {params.out:q} > {log:q} 2>&1"
