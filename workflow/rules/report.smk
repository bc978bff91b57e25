# Rows, tables, figures and the page, from everything above.


rule report_study:
    """`complete` exists while the report covers all that the study asks for."""
    input:
        runs=expand("results/{{study}}/runs/{run}/result.json", run=jobs.runs),
        evaluations=expand(
            "results/{{study}}/evaluation/{judged}.{kind}",
            judged=jobs.evaluations,
            kind=["json", "npz"],
        ),
        measurements=expand(
            "results/{{study}}/measurement/{measurement}.json",
            measurement=jobs.measurements,
        ),
    output:
        complete=touch("results/{study}/complete"),
        page=report(
            "results/{study}/report.html",
            caption="../report/page.rst",
            category="Page",
        ),
        figures=[
            report(
                f"results/{{study}}/figures/{name}.svg",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"figure": TITLES["figure", name]},
            )
            for name in FIGURES
        ],
        tables=[
            report(
                f"results/{{study}}/tables/{name}.csv",
                caption=f"../report/table_{name}.rst",
                category="Tables",
                labels={"table": TITLES["table", name]},
            )
            for name in TABLES
        ],
        rows=expand("results/{{study}}/rows/{name}.parquet", name=ROWS),
    log:
        "logs/{study}/report.log",
    benchmark:
        "logs/{study}/report.tsv"
    conda:
        "../envs/frcore.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        frcore=lambda wildcards, output: jobs.frcore,
        spec=lambda wildcards, output: jobs.spec_file("study"),
        key=lambda wildcards: jobs.key("study"),
        code=lambda wildcards: jobs.report_code(),
        versions=jobs.versions,
        root=subpath(output.page, parent=True),
    shell:
        "{params.frcore:q} report --spec {params.spec:q} --root {params.root:q}"
        " --processes {threads} > {log:q} 2>&1"
