"""Writes cases.json: what transformers makes of small templates that use what chat templates use.

    pip install transformers jinja2
    python make.py
"""

import json
import pathlib

from transformers.utils.chat_template_utils import render_jinja_template

USER = {"role": "user", "content": "Hi <b>& 'you'</b>"}
TALK = [
    {"role": "system", "content": "  Be brief.\n"},
    USER,
    {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nHello!"},
    {"role": "user", "content": "Bye"},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

# Name, template, and what differs from a talk that waits for its answer.
CASES = [
    ("blocks are trimmed", "  {% if true %}\n a\n  {%- endif %}\n\n b {# c #}\n{{- ' x' }}\n"),
    ("whitespace control", "{%- for m in messages -%}\n  {{ m.role }}\n{%- endfor -%}\n!"),
    ("chatml", "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"),
    ("inst", "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for m in loop_messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + m['content'] %}{% else %}{% set content = m['content'] %}{% endif %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"),
    ("roles as tokens", "{% for m in messages %}{{'<|' + m['role'] + '|>' + '\n' + m['content'] + '<|end|>\n'}}{% endfor %}"),
    ("thinking is taken out", "{% for m in messages %}{% set content = m.content %}{% if m.role == 'assistant' and '</think>' in content %}{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}[{{ content }}]{% endfor %}"),
    ("namespace", "{% set ns = namespace(found=false, n=0, text='') %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.found = true %}{% set ns.n = ns.n + 1 %}{% set ns.text = ns.text ~ m.content %}{% endif %}{% endfor %}{{ ns.found }} {{ ns.n }} {{ ns.text }}"),
    ("loop", "{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ loop.first }} {{ loop.last }} {{ loop.revindex }} {{ loop.revindex0 }} {{ loop.previtem.role if loop.previtem is defined else '-' }} {{ loop.nextitem.role if not loop.last else '-' }} {{ loop.cycle('a', 'b') }}\n{% endfor %}"),
    ("loop controls", "{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{% if loop.index0 == 3 %}{% break %}{% endif %}{{ m.role }} {% endfor %}"),
    ("loop with a condition and an else", "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content }}{% else %}none{% endfor %}{% for m in [] %}x{% else %}none{% endfor %}"),
    ("recursive loop", "{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}"),
    ("macros", "{% macro turn(role, text='none', end='.') %}{{ role }}: {{ text }}{{ end }}\n{% endmacro %}{{ turn('a') }}{{ turn('b', end='!', text='t') }}{{ turn(*['c', 'd']) if false else '' }}"),
    ("macro with caller", "{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}in{% endcall %}"),
    ("generation", "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.role }}{% endif %}{% endfor %}"),
    ("generation, trimmed", "a\n{%- generation -%}\n b {{ '{% generation %}' }}\n{%- endgeneration -%}\n c"),
    ("json", "{{ messages | tojson }}"),
    ("json, indented", "{{ {'b': [1, {'c': []}], 'a': {}} | tojson(indent=2) }}"),
    ("json, sorted and tight", "{{ {'b': 1, 'a': [1.5, true, none]} | tojson(separators=(',', ':'), sort_keys=true) }}"),
    ("json, ascii", "{{ 'é€😀\\u0007' | tojson(ensure_ascii=True) }}{{ 'é€😀' | tojson }}"),
    ("json keys", "{{ {1: 'a', none: 'b', true: 'c', 2.5: 'd'} | tojson }}"),
    ("json numbers", "{{ [1, -2, 1.0, 0.1, 1e20, 123456789012] | tojson }}"),
    ("values", "{{ true }} {{ none }} {{ 1.0 }} {{ 7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }} {{ 2 ** 5 }} {{ [1, 'a', \"it's\", none, true] }} {{ {'a': 1, 'b': [2]} }} {{ (1, 'b') }} {{ ('a',) }} {{ [] }}"),
    ("values joined", "{{ 'a' ~ 1 ~ true ~ none ~ [1, 'b'] }}{{ true | string + (none | string) }}"),
    ("undefined", "[{{ nothing }}] {{ nothing is defined }} {{ pad_token is defined }} {{ nothing | default('d') }} {{ messages[0].name is defined }} {{ messages[0].get('name', 'n') }} {{ messages[0]['name'] }}"),
    ("tests", "{{ 'a' is string }} {{ 1 is number }} {{ {} is mapping }} {{ [] is sequence }} {{ [] is iterable }} {{ none is none }} {{ true is boolean }} {{ 1 is integer }} {{ 1.5 is float }} {{ 3 is odd }} {{ 'a' is in ['a'] }} {{ 2 is divisibleby 2 }} {{ 'a' is eq 'a' }} {{ tools is none }} {{ tools is iterable }} {{ nothing is iterable }} {{ 'a' is iterable }} {{ 1 is iterable }} {{ documents is not none }} {{ 'AB' is upper }} {{ 1 is sameas 1 }} {{ not false is false }}"),
    ("strings", "{{ ' a b '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b'.split(',') }}|{{ 'a b c'.split(' ', 1) }}|{{ 'aXb'.lower() }}|{{ 'ab'.upper() }}|{{ 'ab cd'.title() }}|{{ 'ab'.capitalize() }}|{{ 'abc'.replace('b', 'x') }}|{{ 'abc'.startswith('ab') }}|{{ 'abc'.endswith(('x', 'c')) }}|{{ 'a\\nb'.splitlines() }}|{{ ','.join(['a', 'b']) }}|{{ 'abcab'.find('b') }}|{{ 'abcab'.rfind('b') }}|{{ 'abab'.count('b') }}|{{ ' a'.lstrip() }}|{{ 'a '.rstrip() }}|{{ '12'.isdigit() }}|{{ '{} {x}'.format(1, x=2) }}"),
    ("more strings", "{{ 'a-b-c'.rsplit('-', 1) }}|{{ 'a-b'.partition('-') }}|{{ 'ab'.removeprefix('a') }}|{{ 'ab'.removesuffix('b') }}|{{ 'a'.center(5) }}|{{ 'a'.ljust(3) }}|{{ '7'.zfill(3) }}|{{ 'abc'.index('c') }}"),
    ("slices", "{{ messages[1:] | length }} {{ messages[::-1][0].content }} {{ 'abcdef'[1:4] }} {{ 'abcdef'[::-1] }} {{ 'abc'[-1] }} {{ messages[-1].role }} {{ messages[:-1] | length }} {{ [1, 2, 3, 4][1::2] }}"),
    ("dictionaries", "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}={{ v }};{% endfor %}{{ {'a': 1}.keys() | list }} {{ {'a': 1}.values() | list }} {{ {'b': 1, 'a': 2} | dictsort }} {{ dict(a=1).a }} {{ 'a' in {'a': 1} }} {{ {'a': 1} | items | list }}"),
    ("filters", "{{ messages | map(attribute='role') | join(', ') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | rejectattr('role', 'equalto', 'user') | map(attribute='role') | list }} {{ [3, 1, 2] | sort }} {{ [1, 1, 2] | unique | list }} {{ [1, 2] | first }} {{ [1, 2] | last }} {{ [1, 2] | sum }} {{ [1, 2, 3] | max }} {{ ' a ' | trim }} {{ 'a' | upper }} {{ 'Ab' | capitalize }} {{ 'a b' | title }} {{ 'a b' | replace(' ', '-') }} {{ [1, 2] | reverse | list }} {{ '3' | int + 1 }} {{ '1.5' | float }} {{ 2.567 | round(1) }} {{ -2 | abs }} {{ 'a\\nb' | indent(2) }} {{ 'x' | list }} {{ 'a b c' | wordcount }} {{ [1, 2, 3] | batch(2) | list }} {{ none | default('d', true) }} {{ [1, none] | select | list }} {{ 'a' | length }} {{ 'a' | count }}"),
    ("grouped", "{% for role, list in messages | groupby('role') %}{{ role }} {{ list | length }};{% endfor %}"),
    ("filter block and set block", "{% filter upper %}ab{% endfilter %}{% set x %}c {{ 1 }}{% endset %}{{ x | trim }}"),
    ("with and raw", "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{% raw %}{{ a }}{% endraw %}"),
    ("conditions", "{{ 'a' if true else 'b' }} {{ 'a' if false }} {{ 1 < 2 < 3 }} {{ true and not false or false }} {{ 'a' not in 'b' }} {{ [] or 'e' }} {{ 0 or none or 'f' }} {{ 'x' and 'y' }}"),
    ("percent", "{{ '%s is %d and %.2f' % ('a', 3, 1.239) }} {{ '%s' % messages[0].role | upper }} {{ 'a' ~ '%s' % 1 }} {{ 5 % 3 }} {{ '%05d|%-4s|%x' % (42, 'a', 255) }} {{ \"%s\" % [1, 2] | length }} {{ '%s and %s' | format('a', 1) }}"),
    ("calendar", "{{ strftime_now('%Y') | length }}"),
    ("lists", "{{ [1] + [2] }} {{ (1, 2)[0] }} {{ 'ab' * 2 }} {{ [0] * 3 }} {{ range(3) | list }} {{ range(1, 7, 2) | list }} {{ [1, 2].index(2) if false else '' }}{% set a, b = 1, 2 %}{{ a }}{{ b }}"),
    ("html is not escaped", "{{ messages[1].content }} {{ '<>&' }} {{ '<' | e }} {{ '<' | safe }}"),
    ("joiner and cycler", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{% set j = joiner(', ') %}{{ j() }}x{{ j() }}y"),
    ("numbers", "{{ 10000000000000000 * 10 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 1e-7 }} {{ 100000.0 }} {{ 3 | string + '4' }} {{ '%.3g' % 1234.5 }}"),
    ("inline condition around a block", "{%- if messages[0].role == 'system' -%}{%- set first = messages[0].content | trim -%}{%- else -%}{%- set first = '' -%}{%- endif -%}{{- first -}}\n{{- '!' -}}"),
    ("scopes", "{% set x = 1 %}{% for i in range(2) %}{% set x = 5 %}{% endfor %}{{ x }}{% if true %}{% set x = 2 %}{% endif %}{{ x }}"),
    ("a comment with braces", "{# {{ x }} {% if %} #}a{{ '#}' }}"),
    ("content as parts", "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for part in m['content'] %}{{ part['text'] if part.type == 'text' }}{% endfor %}{% endif %}{% endfor %}"),
    ("fails where a template says so", "{{ raise_exception('no system') }}"),
    ("fails where a variable is missing", "{{ nothing + 'a' }}"),
    ("fails where an attribute of nothing is asked for", "{{ nothing.a.b }}"),
    ("fails where a method is missing", "{{ 'a'.nope() }}"),
]


def render(template):
    try:
        # The name for what is cached must differ from call to call in nothing but the template.
        (text,), _ = render_jinja_template([TALK], chat_template=template, add_generation_prompt=True, **TOKENS)
        return {"text": text}
    except Exception as error:
        return {"error": type(error).__name__}


cases = [{"name": name, "template": template, **render(template)} for name, template in CASES]
path = pathlib.Path(__file__).parent / "cases.json"
path.write_text(json.dumps({"messages": TALK, "tokens": TOKENS, "cases": cases}, ensure_ascii=False, indent=1) + "\n")
