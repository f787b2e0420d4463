"""Drives a server with the openai package: python openai_client.py URL KEY."""

import asyncio
import sys

import openai

url, key = sys.argv[1:]
client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
PROMPT = "Once upon a time"


def models():
    names = [model.id for model in client.models.list()]
    assert names == ["tales"], names
    assert client.models.retrieve("tales").object == "model"


def completions():
    answer = client.completions.create(model="tales", prompt=PROMPT, max_tokens=8, temperature=0, logprobs=2, echo=True, seed=1)
    choice = answer.choices[0]
    assert choice.text.startswith(PROMPT) and choice.finish_reason == "length", answer
    assert choice.logprobs.token_logprobs[0] is None and len(choice.logprobs.tokens) == 12, choice.logprobs
    assert answer.usage.total_tokens == 12 and answer.usage.prompt_tokens_details.cached_tokens >= 0
    assert answer._request_id and "CPU" in answer.system_fingerprint

    many = client.completions.create(
        model="tales", prompt=[PROMPT, "The king"], n=2, max_tokens=4, temperature=0.9, top_p=0.9, presence_penalty=0.5,
        frequency_penalty=0.5, stop=["."], logit_bias={"50": -100}, user="somebody",
        extra_body={"top_k": 40, "min_p": 0.01, "repetition_penalty": 1.1, "ignore_eos": True, "min_tokens": 1},
    )
    assert [choice.index for choice in many.choices] == [0, 1, 2, 3]
    ids = client.completions.create(model="tales", prompt=[[100, 101, 102]], max_tokens=1)
    assert ids.usage.prompt_tokens == 3


def streams():
    whole = client.completions.create(model="tales", prompt=PROMPT, max_tokens=12, temperature=0)
    chunks = list(client.completions.create(
        model="tales", prompt=PROMPT, max_tokens=12, temperature=0, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
    assert chunks[-1].usage.completion_tokens == 12 and not chunks[-1].choices
    with client.completions.create(model="tales", prompt=PROMPT, max_tokens=400, stream=True) as stream:
        next(iter(stream))  # And goes away.


def chat():
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    answer = client.chat.completions.create(
        model="tales", messages=messages, max_completion_tokens=6, temperature=0, logprobs=True, top_logprobs=3, n=2)
    assert answer.choices[1].message.role == "assistant" and answer.choices[1].message.content is not None
    assert len(answer.choices[0].logprobs.content) == answer.usage.completion_tokens // 2
    stream = client.chat.completions.create(model="tales", messages=messages, max_tokens=6, temperature=0, stream=True)
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == answer.choices[0].message.content, text
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")


def fails(error, call, **fields):
    try:
        call(**fields)
    except error as found:
        return found
    raise AssertionError(f"no {error.__name__} for {fields}")


def errors():
    create = client.completions.create
    error = fails(openai.BadRequestError, create, model="tales", prompt="a", n=99)
    assert error.param == "n" and error.type == "invalid_request_error", error
    error = fails(openai.BadRequestError, create, model="tales", prompt="word " * 600)
    assert error.code == "context_length_exceeded", error
    fails(openai.NotFoundError, create, model="gpt-4", prompt="a")
    stranger = openai.OpenAI(base_url=url, api_key="sk-other", max_retries=0)
    fails(openai.AuthenticationError, stranger.completions.create, model="tales", prompt="a")


async def together():
    async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as many:
        calls = [many.completions.create(model="tales", prompt=f"{i} bears", max_tokens=6, temperature=0) for i in range(24)]
        answers = await asyncio.gather(*calls)
    alone = client.completions.create(model="tales", prompt="7 bears", max_tokens=6, temperature=0)
    assert answers[7].choices[0].text == alone.choices[0].text


for check in [models, completions, streams, chat, errors]:
    check()
asyncio.run(together())
print("all served by openai", openai.__version__)
