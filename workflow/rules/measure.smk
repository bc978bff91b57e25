# Speed, memory and energy of one head × sampler.


rule measure_step:
    """Alone on its machine: it takes all cores, on a GPU too, whose host side is timed as well."""
    output:
        numbers="results/{study}/measurement/{measurement}.json",
    log:
        "logs/{study}/measure/{measurement}.log",
    benchmark:
        "logs/{study}/measure/{measurement}.tsv"
    conda:
        "../envs/frcore.yaml"
    threads: plan.all_cores
    resources:
        gpu=plan.measurement_gpus,
        mem_mb=plan.measurement_mib(),
        runtime=240,
    params:
        frcore=lambda wildcards, output: plan.frcore,
        spec=lambda wildcards, output: plan.measurement_spec(wildcards.measurement),
        key=lambda wildcards: plan.measurement_key(wildcards.measurement),
        code=lambda wildcards: plan.measurement_code(wildcards.measurement),
        versions=plan.versions,
    shell:
        "{params.frcore:q} measure --spec {params.spec:q} --out {output.numbers:q} > {log:q} 2>&1"
