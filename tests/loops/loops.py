"""Training loops as people write them; each gets a trainer and its batches."""

from __future__ import annotations

import copy
import io

import torch
from torch import nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint


def one_by_one(trainer, batches):
    for batch in batches:
        trainer.zero_grad()
        trainer.loss(batch).backward()
        trainer.step()


def two(batches):
    return zip(batches[::2], batches[1::2], strict=True)


def forwards_then_backwards(trainer, batches):
    for first, second in two(batches):
        trainer.zero_grad()
        losses = [trainer.loss(first), trainer.loss(second)]
        for loss in losses:
            (loss / 2).backward()
        trainer.step()


def backwards_in_reverse(trainer, batches):
    for first, second in two(batches):
        trainer.zero_grad()
        losses = [trainer.loss(first), trainer.loss(second)]
        for loss in reversed(losses):
            (loss / 2).backward()
        trainer.step()


def forward_backward_twice(trainer, batches):
    for pair in two(batches):
        trainer.zero_grad()
        for batch in pair:
            (trainer.loss(batch) / 2).backward()
        trainer.step()


def one_backward_of_a_sum(trainer, batches):
    for first, second in two(batches):
        trainer.zero_grad()
        (trainer.loss(first) + 0.3 * trainer.loss(second)).backward()
        trainer.step()


def a_forward_between(mode):
    """A training forward without gradient, in `mode`, between another one and its backward pass."""

    def loop(trainer, batches):
        for first, second in two(batches):
            trainer.zero_grad()
            loss = trainer.loss(first)
            with mode():
                trainer.loss(second)
            loss.backward()
            trainer.step()

    return loop


def an_evaluation_between(trainer, batches):
    for first, second in two(batches):
        trainer.zero_grad()
        loss = trainer.loss(first)
        trainer.model.eval()
        with torch.no_grad():
            trainer.loss(second)
        trainer.model.train()
        loss.backward()
        trainer.model.eval()
        trainer.loss(second)
        trainer.model.train()
        trainer.step()


def an_evaluation_with_gradient(trainer, batches):
    """Of all centres, in whatever mode: torch adds it up."""
    for first, second in two(batches):
        trainer.zero_grad()
        trainer.loss(first).backward()
        trainer.step()
        trainer.zero_grad()
        trainer.model.eval()
        # In plain torch too a gradient of all columns moves them all.
        trainer.loss(second).backward()
        trainer.model.train()
        trainer.step()


def dropped(zero_grad):
    """Every second batch is forgotten after its backward pass."""

    def loop(trainer, batches):
        for first, second in two(batches):
            (trainer.loss(first) * torch.nan).backward()
            zero_grad(trainer)
            trainer.loss(second).backward()
            trainer.step()
            zero_grad(trainer)

    return loop


def zero_by_modules(trainer):
    trainer.classifier.zero_grad()
    trainer.backbone.zero_grad()


def scaled(trainer, batches, *, clip=False):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=3)
    for n, batch in enumerate(batches):
        trainer.zero_grad()
        # Where it overflows, both steps are left out, and the scale is halved.
        loss = trainer.loss(batch) * (torch.inf if n % 4 == 2 else 1.0)
        scaler.scale(loss).backward()
        if clip or n % 2:
            for optimizer in trainer.optimizers:
                scaler.unscale_(optimizer)
        if clip:
            nn.utils.clip_grad_norm_(trainer.model.parameters(), 0.1)
        for optimizer in trainer.optimizers:
            scaler.step(optimizer)
        scaler.update()
    assert 2.0**13 <= scaler.get_scale() <= 2.0**17


def scaled_and_clipped(trainer, batches):
    scaled(trainer, batches, clip=True)


def clipped(trainer, batches, **options):
    for batch in batches:
        trainer.zero_grad()
        trainer.loss(batch).backward()
        trainer.norms = [
            *getattr(trainer, "norms", []),
            nn.utils.clip_grad_norm_(trainer.model.parameters(), 0.1, **options),
        ]
        trainer.step()


def clipped_sum(trainer, batches):
    for pair in two(batches):
        trainer.zero_grad()
        for batch in pair:
            trainer.loss(batch).backward()
        nn.utils.clip_grad_norm_(trainer.model.parameters(), 0.1, norm_type=1.0)
        trainer.step()


def clipped_by_value(trainer, batches):
    for batch in batches:
        trainer.zero_grad()
        trainer.loss(batch).backward()
        nn.utils.clip_grad_value_(trainer.model.parameters(), 0.01)
        trainer.step()


def weighted(trainer, batches):
    for n, batch in enumerate(batches):
        trainer.zero_grad()
        row_loss_N = trainer.output(batch).row_loss_N
        weight_N = torch.linspace(0, 1 + n, len(row_loss_N), dtype=row_loss_N.dtype)
        (weight_N * row_loss_N).sum().backward()
        trainer.step()


def hardest(trainer, batches):
    """Online hard example mining."""
    for batch in batches:
        trainer.zero_grad()
        trainer.output(batch).row_loss_N.topk(2).values.mean().backward()
        trainer.step()


def twice_backward(trainer, batches):
    for batch in batches:
        trainer.zero_grad()
        loss = trainer.loss(batch)
        loss.backward(retain_graph=True)
        loss.backward()
        trainer.step()


def row_by_row(trainer, batches):
    """Each row has a backward pass of its own through one graph."""
    for batch in batches:
        trainer.zero_grad()
        row_loss_N = trainer.output(batch).row_loss_N
        for loss in row_loss_N:
            loss.backward(retain_graph=True)
        trainer.step()


def closure(trainer, batches):
    for batch in batches:

        def evaluate(batch=batch):
            trainer.zero_grad()
            loss = trainer.loss(batch)
            loss.backward()
            return loss

        trainer.centers.step(evaluate)
        trainer.others.step()


def scheduled(trainer, batches):
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.2, total_steps=len(batches) + 1)
        for o in trainer.optimizers
    ]
    for batch in batches:
        one_by_one(trainer, [batch])
        for schedule in schedules:
            schedule.step()


def frozen(part):
    def loop(trainer, batches):
        one_by_one(trainer, batches[:4])
        trainer.zero_grad()
        frozen = part(trainer)
        for parameter in frozen:
            parameter.requires_grad_(False)
        one_by_one(trainer, batches[4:8])
        for parameter in frozen:
            parameter.requires_grad_(True)
        one_by_one(trainer, batches[8:])

    return loop


def with_gradient(change):
    """The centres' gradient is changed by hand."""

    def loop(trainer, batches):
        for pair in two(batches):
            trainer.zero_grad()
            for batch in pair:
                trainer.loss(batch).backward()
            change(trainer.classifier.centers)
            trainer.step()

    return loop


def by_data(center_CD):
    center_CD.grad.data.mul_(0.5)
    center_CD.grad.detach().clamp_(-0.05, 0.05)
    center_CD.grad /= 3


def by_rows(center_CD):
    center_CD.grad[2] = 0
    center_CD.grad[:5].mul_(0.3)
    center_CD.grad.view(-1)[40:60].add_(0.0).mul_(2)


def by_assignment(center_CD):
    saved = center_CD.grad.clone()
    center_CD.grad = None
    center_CD.grad = 0.5 * saved + saved * 0.1 - saved / 4


def by_function(center_CD):
    center_CD.grad = torch.nan_to_num(center_CD.grad).sign() * 0.02 + center_CD.grad


def hooked(trainer, batches):
    trainer.classifier.centers.register_hook(lambda gradient: gradient.clamp(-0.05, 0.05))
    trainer.classifier.centers.register_hook(lambda gradient: 0.5 * gradient)
    forward_backward_twice(trainer, batches)


def kept_elsewhere(trainer, batches):
    """What a hook keeps has autograd copy the gradient instead of taking it."""
    kept = []
    trainer.classifier.centers.register_hook(lambda gradient: kept.append(gradient))
    forward_backward_twice(trainer, batches)


def steps_in_the_backward_pass(trainer, batches):
    def step(parameter):
        trainer.centers.step()
        trainer.centers.zero_grad()

    handle = trainer.classifier.centers.register_post_accumulate_grad_hook(step)
    for batch in batches:
        trainer.others.zero_grad()
        trainer.loss(batch).backward()
        trainer.others.step()
    handle.remove()


def by_autograd_grad(trainer, batches):
    parameters = list(trainer.model.parameters())
    for batch in batches:
        trainer.zero_grad()
        gradients = torch.autograd.grad(trainer.loss(batch), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        trainer.step()


def copied(when):
    """Goes on with a deep copy: made before the first step, between backward and step, after."""

    def loop(trainer, batches):
        for n, batch in enumerate(batches):
            if when == "before" and n == 3:
                trainer.__dict__.update(copy.deepcopy(trainer).__dict__)
            trainer.zero_grad()
            trainer.loss(batch).backward()
            if when == "between" and n == 3:
                # torch's parameters leave their gradient behind: this step moves nothing.
                trainer.__dict__.update(copy.deepcopy(trainer).__dict__)
            trainer.step()
            if when == "after" and n == 3:
                trainer.__dict__.update(copy.deepcopy(trainer).__dict__)

    return loop


def copied_with_a_schedule(trainer, batches):
    schedule = torch.optim.lr_scheduler.StepLR(trainer.centers, 2)
    one_by_one(trainer, batches[:4])
    schedule.step()
    old = trainer.classifier.read_centers().clone()
    original = trainer.classifier
    trainer.__dict__.update(copy.deepcopy(trainer).__dict__)
    one_by_one(trainer, batches[4:])
    assert torch.equal(original.read_centers(), old)


def pickled(trainer, batches):
    one_by_one(trainer, batches[:5])
    file = io.BytesIO()
    torch.save([trainer.backbone, trainer.classifier, trainer.centers, trainer.others], file)
    file.seek(0)
    parts = torch.load(file, weights_only=False)
    trainer.backbone, trainer.classifier, trainer.centers, trainer.others = parts
    one_by_one(trainer, batches[5:])


def reloaded(trainer, batches):
    one_by_one(trainer, batches[:5])
    trainer.classifier.load_state_dict(copy.deepcopy(trainer.classifier.state_dict()))
    trainer.centers.load_state_dict(copy.deepcopy(trainer.centers.state_dict()))
    one_by_one(trainer, batches[5:])


def checkpointed_backbone(trainer, batches):
    for batch in batches:
        trainer.zero_grad()
        x_ND = checkpoint(trainer.backbone, batch[0], use_reentrant=False)
        trainer.classifier(x_ND, batch[1]).loss.backward()
        trainer.step()


def saved_elsewhere(trainer, batches):
    for batch in batches:
        trainer.zero_grad()
        with save_on_cpu():
            loss = trainer.loss(batch)
        loss.backward()
        trainer.step()


def watched(trainer, batches):
    with torch.autograd.set_detect_anomaly(True):
        forward_backward_twice(trainer, batches)


def single_rows(trainer, batches):
    one_by_one(trainer, [(x[:1], label_N[:1]) for x, label_N in batches])


LOOPS = {
    "one by one": one_by_one,
    "f f b b": forwards_then_backwards,
    "f f b b reversed": backwards_in_reverse,
    "f b f b": forward_backward_twice,
    "sum": one_backward_of_a_sum,
    "no_grad between": a_forward_between(torch.no_grad),
    "inference between": a_forward_between(torch.inference_mode),
    "eval between": an_evaluation_between,
    "eval with gradient": an_evaluation_with_gradient,
    "dropped, modules zero": dropped(zero_by_modules),
    "dropped, parent zeroes": dropped(lambda trainer: trainer.model.zero_grad()),
    "dropped, optimizers zero": dropped(lambda trainer: trainer.zero_grad()),
    "dropped, parent fills": dropped(lambda trainer: trainer.model.zero_grad(set_to_none=False)),
    "dropped, optimizers fill": dropped(lambda trainer: trainer.zero_grad(set_to_none=False)),
    "scaled": scaled,
    "scaled and clipped": scaled_and_clipped,
    "clipped": clipped,
    "clipped foreach": lambda t, b: clipped(t, b, foreach=True),
    "clipped by the largest": lambda t, b: clipped(t, b, norm_type=float("inf")),
    "clipped sum": clipped_sum,
    "clipped by value": clipped_by_value,
    "weighted": weighted,
    "hardest": hardest,
    "twice backward": twice_backward,
    "row by row": row_by_row,
    "closure": closure,
    "scheduled": scheduled,
    "frozen centres": frozen(lambda trainer: [trainer.classifier.centers]),
    "frozen backbone": frozen(lambda trainer: list(trainer.backbone.parameters())),
    "by data": with_gradient(by_data),
    "by rows": with_gradient(by_rows),
    "by assignment": with_gradient(by_assignment),
    "by function": with_gradient(by_function),
    "hooked": hooked,
    "kept elsewhere": kept_elsewhere,
    "steps in backward": steps_in_the_backward_pass,
    "autograd.grad": by_autograd_grad,
    "copied before": copied("before"),
    "copied between": copied("between"),
    "copied after": copied("after"),
    "copied with a schedule": copied_with_a_schedule,
    "pickled": pickled,
    "reloaded": reloaded,
    "checkpointed backbone": checkpointed_backbone,
    "saved elsewhere": saved_elsewhere,
    "watched": watched,
    "single rows": single_rows,
}
