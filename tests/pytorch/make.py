"""Writes model/: the checkpoint of tests/common/checkpoint.rs as PyTorch itself stores it, in as many ways as one file can.

    python3 make.py        (PyTorch 1.13)
"""

import collections
import json
import os
import torch

V, N, C, LAYERS = 13, 10, 8, 2
os.chdir(os.path.dirname(os.path.abspath(__file__)) + "/model")

state = 1


def values(*shape):
    """The next values of the generator that the tests use: multiples of 1/64 below 2, exact in every type."""
    global state
    numbers = []
    for _ in range(torch.Size(shape).numel()):
        state = (state * 1664525 + 1013904223) % 2**32
        numbers.append(((state >> 24) - 127) / 64)
    return torch.tensor(numbers, dtype=torch.float32).reshape(shape)


tensors = collections.OrderedDict()
tensors["wte.weight"] = torch.nn.Parameter(values(V, C))
tensors["wpe.weight"] = values(N, C).half()
for i in range(LAYERS):
    for name, shape in [
        ("ln_1.weight", [C]), ("ln_1.bias", [C]),
        ("attn.c_attn.weight", [C, 3 * C]), ("attn.c_attn.bias", [3 * C]),
        ("attn.c_proj.weight", [C, C]), ("attn.c_proj.bias", [C]),
        ("ln_2.weight", [C]), ("ln_2.bias", [C]),
        ("mlp.c_fc.weight", [C, 4 * C]), ("mlp.c_fc.bias", [4 * C]),
        ("mlp.c_proj.weight", [4 * C, C]), ("mlp.c_proj.bias", [C]),
    ]:
        tensors[f"h.{i}.{name}"] = values(*shape)
tensors["ln_f.weight"], tensors["ln_f.bias"] = values(C), values(C)


def change(name, how):
    tensors[name] = how(tensors[name])


# The columns of the matrix follow each other.
change("h.0.attn.c_attn.weight", lambda t: t.t().contiguous().t())
# Every second element of every third row of a larger storage.
change("h.0.mlp.c_fc.weight", lambda t: torch.zeros(3 * C, 8 * C).index_put_(
    (torch.arange(0, 3 * C, 3)[:, None], torch.arange(1, 8 * C, 2)[None]), t)[::3, 1::2])
change("h.0.attn.c_proj.weight", lambda t: t.bfloat16())
change("h.1.attn.c_attn.weight", lambda t: t.double())
change("h.1.mlp.c_fc.weight", lambda t: t.t().contiguous().t().double())
# Two tensors of one storage.
pair = torch.cat([tensors["h.1.ln_1.weight"], tensors["h.1.ln_1.bias"]])
tensors["h.1.ln_1.weight"], tensors["h.1.ln_1.bias"] = pair[:C], pair[C:]
# A head that is the embedding, and what GPT-2 keeps beside its weights.
tensors["lm_head.weight"] = tensors["wte.weight"]
for i in range(LAYERS):
    tensors[f"h.{i}.attn.bias"] = torch.ones(N, N).tril().to(torch.uint8).view(1, 1, N, N)
    tensors[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
tensors._metadata = collections.OrderedDict({"": {"version": 1}, "wte": {"version": 1}})

torch.save(tensors, "pytorch_model.bin")
with open("config.json", "w") as file:
    json.dump({
        "model_type": "gpt2", "vocab_size": V, "n_positions": N, "n_embd": C, "n_head": 2, "n_layer": LAYERS,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": 0, "eos_token_id": 0,
    }, file, indent=1)
