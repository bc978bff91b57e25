# Found by `snakemake` in the repository's root. The workflow itself is workflow/Snakefile, which is
# where the Snakemake workflow catalogue and `module:` look for it.


include: "workflow/Snakefile"


rule tables:
    """Everything the study asks for: `snakemake --cores all`."""
    default_target: True
    input:
        rules.all.input,
    localrule: True
