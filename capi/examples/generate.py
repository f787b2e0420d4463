"""Continues a text: python3 generate.py "Once upon a time", where the dynamic loader finds libhalfwarp.so."""
import sys
from ctypes import CDLL, CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_float, c_int32, c_size_t, c_uint32
from ctypes import c_uint64, c_void_p, sizeof, string_at

lib = CDLL("libhalfwarp.so")
lib.hw_last_error.restype = c_char_p

class Step(Structure):
    _fields_ = [("size", c_size_t), ("text", c_void_p), ("text_len", c_size_t), ("top", c_void_p), ("n_top", c_size_t),
                ("token", c_uint32), ("logprob", c_float), ("is_prompt", c_int32), ("reserved", c_int32)]

class Sampling(Structure):  # An older struct is completed with defaults, so what comes after top_k can be left out.
    _fields_ = [("size", c_size_t), ("seed", c_uint64), ("logit_bias", c_void_p), ("n_logit_bias", c_size_t),
                ("banned", c_void_p), ("n_banned", c_size_t), ("temperature", c_float), ("top_p", c_float),
                ("min_p", c_float), ("typical_p", c_float), ("repetition_penalty", c_float),
                ("presence_penalty", c_float), ("frequency_penalty", c_float), ("top_k", c_uint32)]

Callback = CFUNCTYPE(c_int32, POINTER(Step), c_void_p)

class Generate(Structure):
    _fields_ = [("size", c_size_t), ("sampling", POINTER(Sampling)), ("max_tokens", c_size_t), ("min_tokens", c_size_t),
                ("stop", c_void_p), ("n_stop", c_size_t), ("stop_tokens", c_void_p), ("n_stop_tokens", c_size_t),
                ("banned", c_void_p), ("n_banned", c_size_t), ("callback", Callback), ("user_data", c_void_p)]

def check(status):
    if status != 0:
        sys.exit(lib.hw_last_error().decode())

def default(params, fill):
    check(fill(byref(params), c_size_t(sizeof(params))))
    return params

def print_step(step, _):
    sys.stdout.buffer.write(string_at(step[0].text, step[0].text_len))
    return 0

prompt = (sys.argv[1] if len(sys.argv) > 1 else "Once upon a time").encode()
engine, session, callback = c_uint64(), c_uint64(), Callback(print_step)
check(lib.hw_engine_open(b"tales", c_size_t(-1), None, byref(engine)))
check(lib.hw_session_open(engine, byref(session)))
sampling = default(Sampling(), lib.hw_sampling_params_default)
sampling.temperature, sampling.top_k, sampling.seed = 0.8, 40, 7
params = default(Generate(), lib.hw_generate_params_default)
params.sampling, params.max_tokens, params.callback = POINTER(Sampling)(sampling), 60, callback
sys.stdout.buffer.write(prompt)
check(lib.hw_generate(session, prompt, c_size_t(len(prompt)), byref(params), None, c_size_t(0)))
print(flush=True)
check(lib.hw_session_free(session))
check(lib.hw_engine_free(engine))
