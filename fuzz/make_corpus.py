"""Writes corpus/: small inputs for every fuzz target, each named for what it is.

    python3 make_corpus.py
"""

import base64
import collections
import io
import json
import os
import pickle
import struct
import sys
import types
import zipfile


def write(target, name, data):
    os.makedirs(f"corpus/{target}", exist_ok=True)
    assert len(data) < 4096, (target, name, len(data))
    with open(f"corpus/{target}/{name}", "wb") as file:
        file.write(data)


# The loader's model: one layer, width 4, 5 tokens, 3 positions.
C, V, N = 4, 5, 3
SHAPES = {
    "wte.weight": [V, C], "wpe.weight": [N, C],
    "h.0.ln_1.weight": [C], "h.0.ln_1.bias": [C],
    "h.0.attn.c_attn.weight": [C, 3 * C], "h.0.attn.c_attn.bias": [3 * C],
    "h.0.attn.c_proj.weight": [C, C], "h.0.attn.c_proj.bias": [C],
    "h.0.ln_2.weight": [C], "h.0.ln_2.bias": [C],
    "h.0.mlp.c_fc.weight": [C, 4 * C], "h.0.mlp.c_fc.bias": [4 * C],
    "h.0.mlp.c_proj.weight": [4 * C, C], "h.0.mlp.c_proj.bias": [C],
    "ln_f.weight": [C], "ln_f.bias": [C],
}
WIDTH = {"F16": 2, "BF16": 2, "F32": 4}


def model(dtype="F16", change=lambda header: None, prefix="", cut=0, tail=b"", pad=b"", fill=b"\x00\x3c"):
    header, end = {}, 0
    for name, shape in SHAPES.items():
        n = WIDTH[dtype]
        for size in shape:
            n *= size
        header[prefix + name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + n]}
        end += n
    change(header)
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    data = (fill * end)[:end]
    file = struct.pack("<Q", len(text + pad)) + text + pad + data + tail
    return file[: len(file) - cut]


def entry(name, **values):
    return lambda header: header[name].update(values)


def raw(header, data=b""):
    return struct.pack("<Q", len(header)) + header + data


def loader(name, weights, config=b""):
    write("loader", name, struct.pack("<H", len(config)) + config + weights)


def drop(name):
    return lambda header: header.pop(name)


def config(**changes):
    base = {"model_type": "gpt2", "vocab_size": V, "n_positions": N, "n_embd": C, "n_head": 2, "n_layer": 1}
    return json.dumps(base | changes).encode()


two_by_two = '{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}'
loader("good_f16", model())
loader("good_f32", model("F32", fill=b"\x00\x00\x80\x3f"))
loader("good_bf16", model("BF16", fill=b"\x80\x3f"))
loader("good_prefixed", model(prefix="transformer."))
loader("good_odd_alignment", model(pad=b" "))
loader("empty", b"")
loader("ends_in_length", b"\x3c\0\0")
loader("ends_in_header", b"\x3c" + b"\0" * 7)
loader("header_length_huge", b"\x3c\0\0\0\xff\xff\xff\xff" + b"{}" * 30)
loader("lfs_pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
loader("html", b"<!DOCTYPE html><html></html>")
loader("header_not_utf8", raw(b"\xff"))
loader("header_not_json", raw(b"{"))
loader("header_not_object", raw(b"[]"))
loader("header_deep", raw(b'{"a":' + b"[" * 1000))
loader("same_offsets", raw(("{" + ",".join(f'"t{i}":{two_by_two}' for i in range(10)) + "}").encode(), b"\0" * 16))
loader("duplicate_tensor", raw(f'{{"wte.weight":{two_by_two},"wte.weight":{two_by_two}}}'.encode(), b"\0" * 16))
loader("trailing_data", model(tail=b"extra_bogus_data_for_polyglot_file"))
loader("two_bytes_short", model(cut=2))
loader("half", model(cut=700))
loader("shape_overflows", model(change=entry("wte.weight", shape=[2, 18446744073709551614])))
loader("shape_overflows_signed", model(change=entry("wte.weight", shape=[2, 9223372036854775807])))
loader("shape_wraps_to_four", model(change=entry("wte.weight", shape=[4194305, 4194305, 211106198978564])))
loader("offsets_too_few_bytes", model(change=entry("wte.weight", data_offsets=[0, 4])))
loader("offsets_reversed", model(change=entry("wte.weight", data_offsets=[8, 4])))
loader("offsets_negative", model(change=entry("wte.weight", data_offsets=[-1, 40])))
loader("offsets_float", model(change=entry("wte.weight", data_offsets=[0, 40.0])))
loader("offsets_2_to_64", model(change=entry("wte.weight", data_offsets=[0, 18446744073709551616])))
loader("good_zero_size_tensor", model(change=lambda h: h.update(x={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})))
loader("missing_tensor", model(change=drop("h.0.mlp.c_proj.bias")))
loader("wrong_shape", model(change=entry("wpe.weight", shape=[C, N])))
loader("wrong_dtype", model(change=entry("ln_f.weight", dtype="I16")))
loader("unknown_dtype", model(change=entry("ln_f.weight", dtype="F17")))
N_DATA = max(e["data_offsets"][1] for e in json.loads(model()[8:].split(b"}}")[0] + b"}}").values())
EXTRA = {"dtype": "U8", "shape": [1, 1, 1, 2], "data_offsets": [N_DATA, N_DATA + 2]}
loader("good_extra_buffer", model(change=lambda h: h.update({"h.0.attn.bias": EXTRA}), tail=b"\0\0"))
loader("nan", model(fill=b"\x00\x7e"))
loader("infinite", model(fill=b"\x00\x7c"))
loader("config_truncated", model(), b"{")
loader("config_no_heads", model(), config(n_head=0))
loader("config_heads_do_not_divide", model(), config(n_head=3))
loader("config_2_to_31_layers", model(), config(n_layer=2**31))
loader("config_2_to_40_positions", model(), config(n_positions=2**40))
loader("config_other_vocabulary", model(), config(vocab_size=50257))
loader("config_nan_epsilon", model(), b'{"model_type":"gpt2","n_layer":1,"layer_norm_epsilon":NaN}')
loader("config_deep", model(), b'{"a":' + b"[" * 1500)

# PyTorch checkpoints of the same model. Modules of these names make Python's own pickler write what PyTorch's does.
TORCH, UTILS = types.ModuleType("torch"), types.ModuleType("torch._utils")
sys.modules.update({"torch": TORCH, "torch._utils": UTILS})


def fake(module, name):
    value = type(name, (), {"__module__": module.__name__})
    setattr(module, name, value)
    return value


rebuild_tensor, rebuild_parameter = fake(UTILS, "_rebuild_tensor_v2"), fake(UTILS, "_rebuild_parameter")
NUMEL = sum(shape[0] * (shape + [1])[1] for shape in SHAPES.values())
CLASSES = {dtype: fake(TORCH, name + "Storage") for dtype, name in [("F16", "Half"), ("F32", "Float"), ("F64", "Double")]}


class Call:
    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


class Storage:
    def __init__(self, dtype, key, numel):
        self.described = "storage", CLASSES[dtype], key, "cpu", numel


class Pickler(pickle._Pickler):
    def persistent_id(self, value):
        return value.described if isinstance(value, Storage) else None

    # Classes stand for PyTorch's functions, and a call of them is no __newobj__.
    def save_reduce(self, function, args, *rest, obj):
        self.save(function), self.save(args), self.write(pickle.REDUCE)


def tensor(storage, offset, shape, strides=None):
    if strides is None:
        strides = (shape[1], 1) if len(shape) == 2 else (1,)
    return Call(rebuild_tensor, storage, offset, tuple(shape), tuple(strides), False, collections.OrderedDict())


def checkpoint(dtype="F16", change=lambda tensors: None, fill=b"\x00\x3c", wrap=lambda tensor: tensor, **options):
    """One storage that all tensors are views of."""
    tensors, offset, storage = {}, 0, Storage(dtype, "0", NUMEL)
    for name, shape in SHAPES.items():
        tensors[name] = wrap(tensor(storage, offset, shape))
        offset += shape[0] * (shape + [1])[1]
    tensors = change(tensors) or tensors
    return archive(dump(tensors, options.pop("protocol", 2)), fill * NUMEL, **options)


def dump(value, protocol=2):
    out = io.BytesIO()
    Pickler(out, protocol).dump(value)
    return out.getvalue()


def archive(data_pkl, storage=b"", folder="a/", method=zipfile.ZIP_STORED, more={}):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in {"data.pkl": data_pkl, "data/0": storage, "version": b"3\n", **more}.items():
            file.writestr(zipfile.ZipInfo(folder + name), data, method)
    return out.getvalue()


def pytorch(name, weights):
    write("pytorch", name, struct.pack("<H", 0) + weights)


def one(name, value):
    return lambda tensors: {**tensors, name: value}


STORAGE = Storage("F16", "0", NUMEL)
CYCLE = {}
CYCLE["wte.weight"] = CYCLE
pytorch("good_f16", checkpoint())
pytorch("good_f32", checkpoint("F32", fill=b"\x00\x00\x80\x3f"))
pytorch("good_f64", checkpoint("F64", fill=b"\0\0\0\0\0\0\xf0\x3f"))
pytorch("good_protocol_4", checkpoint(protocol=4))
pytorch("good_parameters", checkpoint(wrap=lambda t: Call(rebuild_parameter, t, True, collections.OrderedDict())))
pytorch("good_transposed", checkpoint(change=one("wpe.weight", tensor(STORAGE, 0, [N, C], [1, N]))))
pytorch("good_byteorder", checkpoint(more={"byteorder": b"little"}))
pytorch("f64_inexact", checkpoint("F64", fill=b"\x9a\x99\x99\x99\x99\x99\xb9\x3f"))
pytorch("big_endian", checkpoint(more={"byteorder": b"big"}))
pytorch("compressed", checkpoint(method=zipfile.ZIP_DEFLATED))
pytorch("no_folder", checkpoint(folder=""))
pytorch("torchscript", checkpoint(more={"constants.pkl": b""}))
pytorch("half", checkpoint()[:1000])
pytorch("calls_system", checkpoint(change=one("x", Call(os.system, "true"))))
pytorch("training", checkpoint(change=lambda tensors: {"model": tensors}))
pytorch("cyclic", archive(dump(CYCLE)))
pytorch("list", archive(dump([])))
pytorch("negative_size", checkpoint(change=one("wpe.weight", tensor(STORAGE, 0, [-N, C]))))
pytorch("huge_size", checkpoint(change=one("x", tensor(STORAGE, 0, [2**62, 2**62], [0, 0]))))
pytorch("huge_copy", checkpoint(change=one("x", tensor(STORAGE, 0, [2**20, 2**20], [0, 0]))))
pytorch("beyond_storage", checkpoint(change=one("x", tensor(STORAGE, 280, [N, C]))))
pytorch("no_such_storage", checkpoint(change=one("x", tensor(Storage("F16", "7", 4), 0, [C]))))
pytorch("other_numel", checkpoint(change=one("x", tensor(Storage("F16", "0", 4), 0, [C]))))
pytorch("deep", archive(b"\x80\x02)" + b"\x85" * 3000 + b"."))
pytorch("ends_early", archive(b"\x80\x02}("))
pytorch("memo_unknown", archive(b"\x80\x02h\x05."))
pytorch("legacy", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.")
pytorch("tar", b"\0" * 257 + b"ustar" + b"\0" * 250)


STOP = {
    "none": "\x01some text\x02more",
    "one_piece": "stop\x01before stop after",
    "split": "\nUser:\x01Hi\nUs\x02er\x02: and more",
    "near_miss": "aab\x01aa\x02a\x02c\x02aa",
    "inside_another": "abcd\x02bc\x01xabcd",
    "same_end": "bc\x02abc\x01xa\x02bc",
    "newlines": "\n\n\x02\n\x01a\x02\n\x02\n",
    "chinese": "文章。\x01一篇\x02斆\x02文\x02章。",
    "emoji": "😀👧\x01👩\u200d\x02👩😀\x02👧",
    "long_period": "ab" * 200 + "c\x01" + "ab\x02" * 300,
}
for name, text in STOP.items():
    write("stop", name, text.encode())


def ids(*values):
    return struct.pack(f"<{len(values)}H", *values)


# Single bytes in the bundled vocabulary are tokens 1 to 256, in GPT-2's order: 0xf0 is 173, 0x9f 254, 0x98 247, 0x80 223.
EMOJI = (173, 254, 247, 223)
write("detokenizer", "empty", b"")
write("detokenizer", "emoji", ids(*EMOJI))
write("detokenizer", "lone_first_byte", ids(EMOJI[0]))
write("detokenizer", "lone_last_byte", ids(EMOJI[3]))
write("detokenizer", "bad_then_word", ids(EMOJI[0], EMOJI[1], 300, *EMOJI))
write("detokenizer", "special_inside", ids(EMOJI[0], EMOJI[1], 0, EMOJI[2], EMOJI[3]))
write("detokenizer", "out_of_range", ids(4096, EMOJI[0], 4096, EMOJI[1], 10))
write("detokenizer", "all_bytes", ids(*range(257)))
write("detokenizer", "word_pieces", ids(*range(11), *range(10, 0, -1)))


def sampler(name, logits, t=1.0, k=0, p=1.0, min_p=0.0, typical=1.0, rep=1.0, pres=0.0, freq=0.0, ngram=0, bias=(),
            banned=(), tokens=(), suppressed=()):
    data = struct.pack("<fB6f", t, k, p, min_p, typical, rep, pres, freq) + bytes([ngram, len(bias)])
    for token, value in bias:
        data += struct.pack("<Bf", token, value)
    data += bytes([len(banned)])
    for sequence in [*banned]:
        data += bytes([len(sequence), *sequence])
    data += bytes([7, 1, len(tokens), *tokens, len(suppressed), *suppressed])
    write("sampler", name, data + struct.pack(f"<{len(logits)}f", *logits))


nan, inf = float("nan"), float("inf")
steps = [i * 0.37 % 5 for i in range(40)]
sampler("greedy", steps, t=0.0)
sampler("plain", steps)
sampler("everything", steps, t=0.8, k=20, p=0.9, min_p=0.01, typical=0.9, rep=1.2, pres=0.5, freq=0.1, ngram=2,
        bias=[(3, 2.0)], banned=[[5], [1, 2]], tokens=[1, 2, 3, 1], suppressed=[0])
sampler("ties", [1.0] * 64, k=5, typical=0.5)
sampler("coldest", [3e38, -3e38, 3e38, 0.0], t=1e-45, p=0.9)
sampler("nan_logit", steps + [nan])
sampler("infinite_logit", steps + [inf])
sampler("all_banned", [-inf] * 10)
sampler("some_banned", [-inf, 1.0, -inf, 2.0], k=3)
sampler("nan_temperature", steps, t=nan)
sampler("no_logits", [])
sampler("one_logit", [0.5], typical=0.1, p=0.1)


# Tokenizers: the length of a text, the text, tokenizer.json.
def tokenizer(name, text="ab c<|end|>", **sections):
    file = {
        "version": "1.0",
        "added_tokens": [{"id": 4, "content": "<|end|>", "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3}, "merges": [["a", "b"]]},
        **sections,
    }
    data = text.encode()
    write("tokenizer", name, bytes([len(data)]) + data + json.dumps(file, ensure_ascii=False).encode())


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert},
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}]}


def replace(content, **pattern):
    return {"type": "Replace", "pattern": pattern, "content": content}


def table(trie, texts):
    data = struct.pack("<I", 4 * len(trie)) + struct.pack(f"<{len(trie)}I", *trie) + texts
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()}


def word_piece(length=100, **vocab):
    return {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": length,
            "vocab": {"[UNK]": 0, "a": 1, "##b": 2, "c": 3, **vocab}}


WORDS = {"pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}
BERT = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
tokenizer("good_byte_level")
tokenizer("good_split", pre_tokenizer=split(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+", "Removed", True))
tokenizer("good_nested_quantifiers", "a" * 60, pre_tokenizer=split("(a*)*b"))
tokenizer("good_matches_nothing", pre_tokenizer=split("x*", "MergedWithNext"))
tokenizer("good_look_behind", pre_tokenizer=split(r"(?<=a)b|(a)\1"))
tokenizer("good_word_piece", "ab é 文c", normalizer=BERT, model=word_piece(), **WORDS)
tokenizer("good_bad_trie", normalizer=table([0], b"x\0"))
tokenizer("good_table", normalizer=table([0] * 256, b"x\0"))
tokenizer("good_forms", "ﬁ e\u0301 İ", normalizer={"type": "Sequence", "normalizers": [
    {"type": "NFKD"}, {"type": "Lowercase"}, {"type": "StripAccents"}, replace("▁", String=" "), {"type": "Prepend", "prepend": "▁"}]})
tokenizer("good_fallback", model={"type": "BPE", "vocab": {"a": 0, "<0x62>": 1, "c": 2, "<unk>": 3}, "merges": [],
                                  "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True})
tokenizer("good_digits", "a1b22", pre_tokenizer={"type": "Sequence", "pretokenizers": [
    {"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "FixedLength", "length": 2}]})
tokenizer("doubling", normalizer={"type": "Sequence", "normalizers": [replace("aa", String="a")] * 27})
tokenizer("replaces_nothing", normalizer=replace("y", Regex="x*"))
tokenizer("table_beyond_its_end", normalizer={"type": "Precompiled", "precompiled_charsmap": "/////w=="})
tokenizer("long_words", model=word_piece(1 << 60), **WORDS)
tokenizer("other_model", model={"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0})
tokenizer("same_ids", model={"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []})
tokenizer("bad_pattern", pre_tokenizer=split("("))
write("tokenizer", "empty", b"")
write("tokenizer", "not_json", b"\0{")

# Requests: which path (one byte), the body.
REQUESTS = {
    "good_plain": (0, {"prompt": "Once", "max_tokens": 2}),
    "good_everything": (0, {"prompt": ["a", "中🐻"], "n": 2, "echo": True, "logprobs": 5, "stop": ["x", "\n"], "seed": -1, "top_p": 0,
                            "top_k": -1, "temperature": 2.0, "logit_bias": {"5": -100}, "max_tokens": 3, "min_tokens": 1,
                            "bad_words": ["b"], "frequency_penalty": 0.5, "typical_p": 0.5, "no_repeat_ngram_size": 2}),
    "good_ids": (0, {"prompt": [[5, 6], [7]], "max_tokens": 0, "echo": True, "logprobs": 0}),
    "good_stream": (0, {"prompt": "a", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 4, "ignore_eos": True}),
    "good_cut": (0, {"prompt": "a b c d", "truncate_prompt_tokens": 2, "max_tokens": 1}),
    "good_tokenize": (2, {"content": "a b", "with_pieces": True}),
    "good_detokenize": (3, {"tokens": [5, 6, 4095]}),
    "chat_without_template": (1, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}),
    "mixed_prompts": (0, {"prompt": [[1], "a"]}),
    "large_number": (0, {"prompt": "a", "max_tokens": 1e300}),
    "refused_field": (0, {"prompt": "a", "grammar": "root ::= x"}),
    "beyond_the_vocabulary": (3, {"tokens": [4096]}),
}
for name, (path, body) in REQUESTS.items():
    write("request", name, bytes([path]) + json.dumps(body).encode())
write("request", "deep", b"\0" + b"[" * 2000)
write("request", "not_utf8", b"\0{\"prompt\": \"\xff\"}")
write("request", "good_repeated_field", b"\0{\"prompt\": \"a\", \"max_tokens\": 1, \"zzz\": {\"a\": [1, {}]}}")
write("request", "half", b"\0{\"prompt\": \"a")
write("request", "lone_surrogate", b"\0{\"prompt\": \"\\ud800\"}")
write("request", "empty", b"")


# Calls of the C ABI: a byte for each, and those of what it takes. Handle 0 is the engine, 1 and 2 are none, 3 is the first session.
OPEN, FORK, FREE, CANCEL, TOKENS, TRUNCATE, DECODE, LOGITS, SAMPLE, GENERATE = range(10)
TOKENIZE, DETOKENIZE, TOKEN_BYTES = 11, 12, 13
SAMPLING = [0, 64, 64, 0, 1]
IDS = [3, 1, 2, 3]


def calls(name, *all):
    write("calls", name, bytes(byte for call in all for byte in call))


calls("good_texts", [TOKENIZE, 40, 0, 3, 1, 1, 1, 0], [TOKENIZE, 40, 0, 3, 1, 1, 1, 1], [DETOKENIZE, 60, 0, *IDS], [TOKEN_BYTES, 60, 0, 9],
      [TOKENIZE, 40, 0, 0, 0], [DETOKENIZE, 60, 0, 0])
calls("good_session", [OPEN, 0], [DECODE, 1, 3, *IDS, 1, 0], [SAMPLE, 3, *SAMPLING, 0], [TOKENS, 40, 3], [TRUNCATE, 3, 2],
      [TOKENS, 40, 3], [FREE, 3, 1])
calls("good_generate", [OPEN, 0], [GENERATE, 3, *IDS, *SAMPLING, 1, 2, 0, 0], [GENERATE, 3, *IDS, *SAMPLING, 24, 3, 1, 5], [FREE, 3, 1])
calls("good_fork", [OPEN, 0], [DECODE, 1, 3, *IDS, 2, 0], [FORK, 3], [DECODE, 2, 3, 1, 5, 1, 1, 4, 1, 6, 1, 1], [FREE, 3, 1], [FREE, 4, 1])
calls("freed_twice", [OPEN, 0], [FREE, 3, 1], [FREE, 3, 1], [TOKENS, 9, 3], [CANCEL, 3], [FORK, 3])
calls("wrong_kind", [OPEN, 0], [FREE, 3, 8], [TOKENIZE, 9, 3, *IDS, 0], [TOKENS, 9, 0], [DECODE, 1, 0, *IDS, 1, 0], [FREE, 0])
calls("same_twice", [OPEN, 0], [DECODE, 2, 3, *IDS, 1, 0, 3, *IDS, 1, 0], [LOGITS, 9, 3, 0], [TRUNCATE, 3, 255], [CANCEL, 3],
      [GENERATE, 3, *IDS, *SAMPLING, 0, 3, 0, 0])
calls("full", *[[OPEN, 0]] * 7, *[[DECODE, 3, h, 23, *range(23), 2, 0, h + 1, 23, *range(23), 1, 0, h + 2, 23, *range(23), 0, 0] for h in (3, 5, 7) * 8])

# Chat templates, those of the table of tests/chat.
with open("../tests/chat/cases.json") as table:
    cases = json.load(table)["cases"]
for case in cases:
    name = "-".join("".join(c if c.isalnum() else " " for c in case["name"]).lower().split())
    write("template", name, b"say <|endoftext|>\0" + case["template"].encode())
