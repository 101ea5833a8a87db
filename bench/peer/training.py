"""Training steps in PyTorch."""

import itertools

import torch
from objective import mmt_terms, pretrain_terms

learning_rate = 3.5e-5  # as ours/step.ts says


class Training:
    """Trains the networks that it is given, in place, in one memory layout."""

    def __init__(self, networks, batches, channels_last):
        layout = torch.channels_last if channels_last else torch.contiguous_format
        networks = {name: network.to(memory_format=layout).train() for name, network in networks.items()}
        self.batches = itertools.cycle([([v.contiguous(memory_format=layout) for v in views], l) for views, l in batches])
        self.students = [networks[name] for name in sorted(networks) if name.startswith("student")]
        self.teachers = [networks[name] for name in sorted(networks) if name.startswith("teacher")]
        trained = [p for student in self.students for p in student.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=learning_rate, weight_decay=5e-4)
        self.steps = 0

    def step(self):
        """One optimizer step and the teachers' update; gives the losses."""
        views, labels = next(self.batches)
        students = [student(view) for student, view in zip(self.students, views)]
        if self.teachers:
            with torch.no_grad():
                teachers = [teacher(view) for teacher, view in zip(self.teachers, views)]
            terms, total = mmt_terms(students, teachers, labels)
        else:
            terms, total = pretrain_terms(students, labels)
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        self.move_teachers(min(1 - 1 / (self.steps + 1), 0.999))
        self.steps += 1
        return [value.item() for value in (*terms, total)]

    @torch.no_grad()
    def move_teachers(self, alpha):
        for teacher, student in zip(self.teachers, self.students):
            kept = [p for p in teacher.parameters()]
            torch._foreach_mul_(kept, alpha)
            torch._foreach_add_(kept, [p for p in student.parameters()], alpha=1 - alpha)


def first_losses(training, steps, compared):
    """Does so many steps and gives the losses of the first ones, to be compared."""
    losses = [training.step() for _ in range(steps)]
    return {f"losses of step {i + 1}": losses[i] for i in range(compared)}


def settings(channels_last):
    return f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads{', channels_last' if channels_last else ''}"
