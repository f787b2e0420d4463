"""Batch-1 decode of GPT-2 124M in Hugging Face transformers: fp16, KV cache, random weights; tokens per second."""

import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel

N_TOKENS = 128

model = GPT2LMHeadModel(GPT2Config()).half().cuda().eval()
prompt = torch.arange(128, device="cuda")[None]


def generate():
    torch.cuda.synchronize()
    start = time.perf_counter()
    model.generate(prompt, max_new_tokens=N_TOKENS, min_new_tokens=N_TOKENS, do_sample=False, pad_token_id=0)
    torch.cuda.synchronize()
    return time.perf_counter() - start


with torch.inference_mode():
    generate()
    times = sorted(generate() for _ in range(5))
print(f"torch {torch.__version__}, gpt2 124M fp16: {N_TOKENS / times[2]:.1f} tokens/s (median of 5, prompt included)")
