"""What no synthetic data set can have; a study asks before any job, so little is imported."""

from __future__ import annotations

from frcore.data.synthetic import pairing
from frcore.data.synthetic.labels import check_labels
from frcore.errors import UserError
from frcore.study.data import SyntheticTemplates, SyntheticTraining, SyntheticVerification


def check_synthetic(spec: SyntheticTraining | SyntheticVerification | SyntheticTemplates) -> None:
    """Refuse what cannot be generated; a study checks this before any job.

    Raises:
        UserError: more conflicts, flips or pairs than the people and their images allow.
    """
    if isinstance(spec, SyntheticTraining):
        check_labels(spec)
    elif isinstance(spec, SyntheticVerification):
        pairing.check_pairs(spec)
    else:
        possible = pairing.possible_impostor(spec.identities, spec.templates)
        if spec.impostor_pairs > possible:
            raise UserError(
                f"impostor_pairs = {spec.impostor_pairs}, but {spec.identities} identities with "
                f"{spec.templates} templates have only {possible}; ask for at most {possible}, or "
                "raise identities or templates"
            )
