"""The caption of each figure and table, on the page and in Snakemake's report.

`workflow/report/*.rst` hold the same texts for `snakemake --report`; a test keeps them equal.
"""

from __future__ import annotations

from collections.abc import Mapping

FIGURES: Mapping[str, tuple[str, str]] = {
    "accuracy_cost": (
        "Accuracy against cost",
        "The main number of each benchmark against the median time of one training step. Up and to "
        "the left is better. Vertical bars: 95 % interval over test people and seeds. Horizontal "
        "bars: 20th to 80th percentile of the step time. Dashed: the Pareto front, where nothing "
        "measured is both as fast and better. Full strength: the front, and what is not told apart "
        "from the best method that is at least as fast, by the paired difference over the same "
        "pairs and seeds (all of a panel together 95 %). Faint: behind it. Ringed: something else "
        "held the machine up during the measurement. Point at a mark for its runs.",
    ),
    "roc": (
        "ROC",
        "Share of genuine pairs accepted (TAR) against the share of impostor pairs accepted (FAR, "
        "logarithmic), down to the FAR of a single false accept; left of that the benchmark cannot "
        "tell. Line: mean over seeds. Band: pointwise 95 % interval over test people and "
        "seeds (as the tables'; Student's t, spread pooled over methods); none where a "
        "benchmark has too few people, or a FAR allows fewer than ten false accepts. Of more than "
        "six curves only the highest has its band.",
    ),
    "det": (
        "DET",
        "The same curves as errors: share of genuine pairs rejected (FNMR) against the share of "
        "impostor pairs accepted (FMR), both logarithmic, which tells curves apart that a ROC "
        "shows near 1. Nothing is drawn below a single false accept, nor where no genuine pair is "
        "rejected. Lines and bands as in the ROC.",
    ),
    "sampler_curves": (
        "Accuracy against a sampler's parameter",
        "The main number of each benchmark against a parameter that the study's samplers vary, "
        "such as the rate of partial_fc or the size of broadface's queue, all else being equal. "
        "Points are moved apart sideways a little. Vertical bars: 95 % interval over test people "
        "and seeds. Dotted: the same head over all centres without a queue (full).",
    ),
    "memory": (
        "Memory against identities",
        "Peak memory of a training step's last layer against the number of identities, both "
        "logarithmic. A cross at the top: out of memory (OOM). Ringed: something else held the "
        "machine up during the measurement. Broad grey dashes: planned by frcore plan, where it "
        "knows the step; of a CPU that of the dense backend alone. Open marks without a line: "
        "published by Partial FC's authors (8 V100 of 32 GB, ResNet-50, fp16, 1,024 images in all, "
        "as the driver counts it), another experiment that has the backbone in it; drawn beside a "
        "GPU at the same numbers of identities and the same sampling rate, and nowhere else.",
    ),
    "throughput": (
        "Throughput against identities",
        "Images per second through a training step's last layer against the number of identities, "
        "both logarithmic. A cross at the top: out of memory (OOM). Ringed: something else held "
        "the machine up during the measurement. Broad grey dashes: planned by frcore plan, for a "
        "GPU whose ceilings it knows: at most, where the step is fused, and an estimate for the "
        "dense one. Open marks without a line: published by Partial FC's authors (8 V100 of 32 GB, "
        "ResNet-50, fp16, 1,024 images in all), another experiment that has the backbone in it; "
        "drawn beside a GPU at the same numbers of identities and the same sampling rate, and "
        "nowhere else.",
    ),
    "roofline": (
        "Step time over the roofline",
        "Measured time of a training step's last layer (points; a cross at the top: out of memory; "
        "ringed: something else held the machine up during the measurement) against the number of "
        "identities, both logarithmic, over the time that the GPU needs at least (grey line): two "
        "passes over the class centres with 16-bit matrix products, each as fast as its "
        "arithmetic or its memory allows. Nothing is planned for a CPU.",
    ),
    "training": (
        "Scale and angles over training",
        "Top: the scale s that multiplies the cosines. Bottom: mean angle between an embedding and "
        "its own class centre (target, coloured) and the other centres (negative, grey). Line: "
        "mean over seeds. Band: from the lowest to the highest seed.",
    ),
    "head_state": (
        "State of the heads over training",
        "What a head keeps besides its weights and its scale, under the name the head gives it. "
        "Line: mean over seeds. Band: from the lowest to the highest seed.",
    ),
    "angle_distributions": (
        "Distribution of angles over training",
        "Angle between embeddings and class centres of the training set, in each epoch, seeds "
        "together: to the own centre (coloured) and to the others (grey). Line: median. Bands: "
        "5th to 95th percentile, and 25th to 75th for the own centre.",
    ),
    "angle_histograms": (
        "Angles in the last epoch",
        "Distribution of the angle between embeddings and class centres of the training set, "
        "summed over seeds: to the own centre (coloured) and to the others (grey). Both areas are "
        "equal, since there are far more other centres.",
    ),
    "center_angles": (
        "Angles between class centres over training",
        "Mean angle, at the end of each epoch, between a class centre and the nearest other one "
        "(coloured) and between all pairs of centres (grey). For comparison, the angle inside "
        "classes: between an embedding and its own centre, during the epoch (dots). Line: mean "
        "over seeds. Band: from the lowest to the highest seed.",
    ),
    "center_cosines": (
        "Cosines between class centres",
        "Distribution of the cosine between the centres of two labels after training, seeds "
        "together: of labels that are one person, as far as the data tell (coloured), and of any "
        "two labels (grey). Both areas are equal, since pairs of one person are few. Where the two "
        "lie apart, a threshold finds the labels to join.",
    ),
    "long_tail": (
        "Classes with many and with few images",
        "Top: angle between an identity's embeddings and its class centre, mean over the last "
        "epoch's rows, against images per identity (logarithmic). Points: means over the "
        "identities with most, middling and fewest images, about a third of them each. Bars: from "
        "the 5th to the 95th percentile over these identities. Bottom: passive updates, in which a "
        "centre was pushed by others and not pulled, for each image of its own that was seen. "
        "Means over seeds; samplers are moved apart sideways a little.",
    ),
}

TABLES: Mapping[str, tuple[str, str]] = {
    "overview": (
        "Accuracy and cost",
        "The main numbers of each benchmark with 95 % intervals and, where something is trained, "
        "what a training step costs. Marked: the highest of a column, and what is not told apart "
        "from it by the paired difference over the same pairs and seeds.",
    ),
    "accuracy": (
        "Accuracy",
        "Every metric of every benchmark, with 95 % intervals, marked as in the first table.",
    ),
    "differences": (
        "Difference from the best",
        "How far each is below the best of a benchmark, over the same pairs and seeds, and whether "
        "the data at hand tell the two apart.",
    ),
    "published": (
        "Published beside measured",
        "What papers and repositories have published of the same head and sampler, or model, on "
        "the same benchmark, beside the measured number with its 95 % interval, and which "
        "conditions are known to differ.",
    ),
    "cost": (
        "Speed and memory",
        "Time, throughput and memory of one training step's last layer, for each number of "
        "identities, and which rows something else held up.",
    ),
    "passive_updates": (
        "Pulled and pushed class centres",
        "For classes with many and with few images: how often a class centre was pulled by its "
        "own rows, in how many steps it was only pushed by others (passive updates), and how far "
        "the nearest other centre is in the end.",
    ),
    "conflicts": (
        "Class centres that may be one person",
        "Pairs of class centres closer than a threshold, and how many of them really are one "
        "person under two labels (inter-class conflict).",
    ),
    "missing": (
        "What failed or is missing",
        "Runs, evaluations and measurements of the study that gave no numbers, and why.",
    ),
}


def rst(title: str, text: str) -> str:
    """A caption as reStructuredText."""
    return f"**{title}.** {text}\n"
