# Is a candidate better than a baseline, worse, or statistically tied? `snakemake --cores all compare`.


rule compare_heads:
    """Compare what has been trained and measured; what fails the run is told by the next rule."""
    input:
        runs=rules.report_study.input.runs,
        evaluations=rules.report_study.input.evaluations,
        measurements=rules.report_study.input.measurements,
        references=jobs.compared.references,
    output:
        numbers="results/{study}/comparison/{comparison}.json",
        text="results/{study}/comparison/{comparison}.md",
        figure="results/{study}/comparison/{comparison}.svg",
        page=report(
            "results/{study}/comparison/{comparison}.html",
            caption="../report/comparison.rst",
            category="Page",
        ),
    log:
        "logs/{study}/compare/{comparison}.log",
    benchmark:
        "logs/{study}/compare/{comparison}.tsv"
    conda:
        "../envs/frcore.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        frcore=lambda wildcards, output: jobs.frcore,
        spec=lambda wildcards, output: jobs.spec_file("comparison"),
        key=lambda wildcards: jobs.key("comparison"),
        code=lambda wildcards: jobs.compared.code(),
        versions=jobs.versions,
        root=subpath(output.numbers, ancestor=2),
    shell:
        "{params.frcore:q} compare --spec {params.spec:q} --root {params.root:q} --no-fail"
        " > {log:q} 2>&1"


rule judge_comparison:
    """Fail where the comparison does. By itself, because a failed job's files are deleted."""
    input:
        numbers="results/{study}/comparison/{comparison}.json",
    output:
        passed=touch("results/{study}/comparison/{comparison}.passed"),
    log:
        "logs/{study}/judge/{comparison}.log",
    benchmark:
        "logs/{study}/judge/{comparison}.tsv"
    localrule: True
    conda:
        "../envs/frcore.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        frcore=lambda wildcards, output: jobs.frcore,
        spec=lambda wildcards, output: jobs.spec_file("comparison"),
        key=lambda wildcards: jobs.key("comparison"),
        code=lambda wildcards: jobs.compared.code(),
        versions=jobs.versions,
        root=subpath(input.numbers, ancestor=2),
    shell:
        "{params.frcore:q} compare --spec {params.spec:q} --root {params.root:q} --judge"
        " > {log:q} 2>&1"
