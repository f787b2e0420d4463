"""llama.cpp's server on a GPT-2 folder with fp16 weights, to be measured beside `halfwarp serve`.

    pip install xllamacpp gguf numpy
    python benches/llamacpp_server.py FOLDER [--threads 2] [--parallel 16] [--port 8090] &
    cargo run --release --example load -- --model FOLDER --against 127.0.0.1:8090

The folder is what Hugging Face has: config.json, model.safetensors (F16), vocab.json, merges.txt. It is written as GGUF beside it once.
"""
import argparse, json, os, struct, time

import gguf
import numpy as np
import xllamacpp

PARTS = {
    "ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}
OUTER = {
    "wte.weight": "token_embd.weight", "wpe.weight": "position_embd.weight",
    "ln_f.weight": "output_norm.weight", "ln_f.bias": "output_norm.bias",
}


def tensors(path):
    """Each tensor under GGUF's name, in GGUF's order of dimensions."""
    raw = np.memmap(path, np.uint8, "r")
    header = 8 + struct.unpack("<Q", raw[:8].tobytes())[0]
    for name, entry in json.loads(raw[8:header].tobytes()).items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        values = raw[header + start : header + end].view(np.float16).reshape(entry["shape"])
        name = name.removeprefix("transformer.")
        if name in OUTER:
            yield OUTER[name], values
            continue
        _, layer, rest = name.split(".", 2)
        part, leaf = rest.rsplit(".", 1)
        if part in PARTS:
            yield f"blk.{layer}.{PARTS[part]}.{leaf}", np.ascontiguousarray(values.T)


def convert(folder, path):
    config = json.load(open(os.path.join(folder, "config.json")))
    vocab = json.load(open(os.path.join(folder, "vocab.json")))
    merges = open(os.path.join(folder, "merges.txt"), encoding="utf-8").read().split("\n")[1:]
    out = gguf.GGUFWriter(path, "gpt2")
    out.add_block_count(config["n_layer"])
    out.add_context_length(config["n_positions"])
    out.add_embedding_length(config["n_embd"])
    out.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
    out.add_head_count(config["n_head"])
    out.add_layer_norm_eps(config["layer_norm_epsilon"])
    out.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(sorted(vocab, key=vocab.get))
    out.add_token_types([gguf.TokenType.NORMAL] * (len(vocab) - 1) + [gguf.TokenType.CONTROL])
    out.add_token_merges([merge for merge in merges if merge])
    out.add_bos_token_id(config["bos_token_id"])
    out.add_eos_token_id(config["eos_token_id"])
    for name, values in tensors(os.path.join(folder, "model.safetensors")):
        # llama.cpp wants vectors and positions in fp32.
        keeps = values.ndim == 2 and not name.startswith("position")
        out.add_tensor(name, values if keeps else values.astype(np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parallel", type=int, default=16)
    parser.add_argument("--port", type=int, default=8090)
    args = parser.parse_args()
    path = os.path.join(args.folder, "model-f16.gguf")
    if not os.path.exists(path):
        convert(args.folder, path)
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    params.n_parallel = args.parallel
    params.n_ctx = 1024 * args.parallel
    params.n_batch = params.n_ubatch = 512
    params.cont_batching = True
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.port = args.port
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
