"""Writes cases.json: what Hugging Face's own logits processors keep, and with which probabilities.

    pip install torch==2.15.0 transformers==5.24.0
    python3 make_cases.py

Scores are float64, so that no case hangs on a rounding. Logits are a formula (`logits` here and in sampling.rs).
Presence and frequency penalties, which transformers lacks, are applied by hand between the repetition penalty and the
n-gram ban, by the formula of vLLM: logit -= presence * (count > 0) + frequency * count.
"""

import json
import random

import numpy as np
import torch
from transformers.generation import logits_process as hf


def logits(seed, n_vocab, quantum):
    """Values from -8 to 8, most of them low; multiples of `quantum` where it is not 0, so that there are ties."""
    i = np.arange(n_vocab, dtype=np.uint64)
    h = (i * np.uint64(2654435761) + np.uint64(seed) * np.uint64(40503)) % np.uint64(2**32)
    h = (h * np.uint64(2246822519) + np.uint64(12345)) % np.uint64(2**32)
    x = (h >> np.uint64(8)).astype(np.float64) / 2.0**24
    y = 16.0 * x * x * x * x - 8.0
    if quantum:
        y = np.round(y / quantum) * quantum
    return y.astype(np.float32)


def processed(case):
    p, tokens, n_vocab = case["params"], case["tokens"], case["n_vocab"]
    ids = torch.tensor([tokens])
    scores = torch.tensor(logits(case["seed"], n_vocab, case["quantum"])).double()[None]
    apply = lambda processor: processor(ids, scores)
    if p["logit_bias"]:
        scores = apply(hf.SequenceBiasLogitsProcessor({(i,): b for i, b in p["logit_bias"]}))
    if p["repetition_penalty"] != 1:
        scores = apply(hf.RepetitionPenaltyLogitsProcessor(p["repetition_penalty"]))
    for t in set(tokens[case["n_prompt"]:]):
        n = tokens[case["n_prompt"]:].count(t)
        scores[0, t] -= p["presence_penalty"] + p["frequency_penalty"] * n
    if p["no_repeat_ngram_size"]:
        scores = apply(hf.NoRepeatNGramLogitsProcessor(p["no_repeat_ngram_size"]))
    if p["banned"]:
        scores = apply(hf.NoBadWordsLogitsProcessor(p["banned"]))
    if case["suppressed"]:
        scores = apply(hf.SuppressTokensLogitsProcessor(case["suppressed"]))
    scores = apply(hf.TemperatureLogitsWarper(p["temperature"]))
    if p["top_k"]:
        scores = apply(hf.TopKLogitsWarper(p["top_k"]))
    if p["top_p"] < 1:
        scores = apply(hf.TopPLogitsWarper(p["top_p"]))
    if p["min_p"]:
        scores = apply(hf.MinPLogitsWarper(p["min_p"]))
    if p["typical_p"] < 1:
        scores = apply(hf.TypicalLogitsWarper(p["typical_p"]))
    return scores.softmax(-1)[0]


def f32(x):
    """The value that an f32 parameter has."""
    return float(np.float32(x))


def random_case(seed, n_vocab):
    r = random.Random(seed)
    maybe = lambda value, default: value if r.random() < 0.4 else default
    history = [r.randrange(min(n_vocab, 12)) for _ in range(r.randrange(2, 30))]
    quantum = maybe(0.5, 0.0)
    params = {
        "temperature": f32(r.choice([0.3, 0.7, 1.0, 1.5])),
        "top_k": maybe(r.randrange(1, 60), 0) if n_vocab < 1000 else r.randrange(1, 60),
        # Which of several equal tokens top-p keeps is not defined in transformers.
        "top_p": f32(1.0 if quantum else maybe(r.choice([0.1, 0.5, 0.9, 0.95]), 1.0)),
        "min_p": f32(maybe(r.choice([0.01, 0.1, 0.5]), 0.0)),
        "typical_p": f32(maybe(r.choice([0.2, 0.9]), 1.0)),
        "repetition_penalty": f32(maybe(r.choice([0.8, 1.1, 2.0]), 1.0)),
        "presence_penalty": f32(maybe(r.choice([-1.5, 0.5, 2.0]), 0.0)),
        "frequency_penalty": f32(maybe(r.choice([-0.5, 0.25]), 0.0)),
        "no_repeat_ngram_size": maybe(r.randrange(1, 4), 0),
        "logit_bias": maybe([[r.randrange(12), f32(r.choice([-5, 3, 12.5]))]], []),
        "banned": maybe([[5], [7, 5, 3], [history[-1], 2], history[-2:] + [9], history + [11]], []),
    }
    suppressed = maybe([0, 1], [])
    return {
        "seed": seed, "n_vocab": n_vocab, "quantum": quantum, "tokens": history,
        "n_prompt": r.randrange(len(history)), "suppressed": suppressed, "params": params,
    }


cases = [random_case(seed, 101) for seed in range(120)] + [random_case(seed, 50257) for seed in range(1000, 1012)]
for case in cases:
    kept = [(i, float(p)) for i, p in enumerate(processed(case)) if p > 0]
    case["ids"] = [i for i, _ in kept]
    case["probabilities"] = [float(f"{p:.12g}") for _, p in kept]
with open("cases.json", "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
print(len(cases), "cases,", sum(len(c["ids"]) for c in cases), "tokens kept")
