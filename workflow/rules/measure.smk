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
    threads: jobs.all_cores
    resources:
        gpu=jobs.gpus("measurement"),
        mem_mb=jobs.measurement_mib(),
        runtime=240,
    params:
        frcore=lambda wildcards, output: jobs.frcore,
        spec=lambda wildcards, output: jobs.spec_file(
            "measurement", wildcards.measurement
        ),
        key=lambda wildcards: jobs.key("measurement", wildcards.measurement),
        code=lambda wildcards: jobs.measurement_code(wildcards.measurement),
        versions=jobs.versions,
    shell:
        "{params.frcore:q} measure --spec {params.spec:q} --out {output.numbers:q} > {log:q} 2>&1"
