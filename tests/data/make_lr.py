#!/usr/bin/env python3
"""The learning rates of transformers' schedules, as the rows of tests/train/lr_schedule_test.cpp
(transformers 5.24, torch 2.15).

    python tests/data/make_lr.py
"""
import torch
from transformers import get_scheduler

STEPS = (1, 5, 10, 11, 25, 40, 55, 77, 99, 100)


def rates(name):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_scheduler(name, optimizer, num_warmup_steps=10, num_training_steps=100)
    out = [schedule.get_last_lr()[0]]
    for _ in range(100):
        optimizer.step()
        schedule.step()
        out.append(schedule.get_last_lr()[0])
    return out


columns = [rates(name) for name in ("cosine", "linear", "constant_with_warmup")]
for step in STEPS:
    print("    {%d, %s}," % (step, ", ".join(repr(float(c[step])) for c in columns)))
