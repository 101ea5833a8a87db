"""The losses of MMT and of pre-training, as the reference computes them."""

import torch
from torch.nn import functional as F


def distances(feature):
    squares = (feature * feature).sum(1, keepdim=True)
    return (squares + squares.t() - 2 * feature @ feature.t()).clamp(min=1e-12).sqrt()


def mine(distance, labels):
    same = (labels[:, None] == labels[None]).float()
    farthest = (distance - 9999999.0 * (1 - same)).argmax(1, keepdim=True)
    nearest = (distance + 9999999.0 * same).argmin(1, keepdim=True)
    return farthest, nearest


def pair(distance, pairs):
    return torch.cat([distance.gather(1, index) for index in pairs], 1)


def cross_entropy(targets, logits):
    return -(targets * F.log_softmax(logits, 1)).sum(1).mean()


def supervised(student, labels):
    """Terms ce and tri of one network, and its mined pairs."""
    feature, _, logits = student
    distance = distances(feature)
    pairs = mine(distance, labels)
    ce = F.cross_entropy(logits, labels, label_smoothing=0.1)
    tri = -F.log_softmax(pair(distance, pairs), 1)[:, 1].mean()
    return ce, tri, distance, pairs


def pretrain_terms(students, labels):
    terms = [term for student in students for term in supervised(student, labels)[:2]]
    return terms, sum(terms)


def mmt_terms(students, teachers, labels):
    terms, total = [], 0
    for student, teacher in zip(students, reversed(teachers)):
        ce, tri, distance, pairs = supervised(student, labels)
        soft_ce = cross_entropy(teacher[2].softmax(1), student[2])
        soft_tri = cross_entropy(pair(distances(teacher[0]), pairs).softmax(1), pair(distance, pairs))
        terms += [ce, tri, soft_ce, soft_tri]
        total = total + 0.5 * ce + 0.2 * tri + 0.5 * soft_ce + 0.8 * soft_tri
    return terms, total
