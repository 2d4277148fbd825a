#!/usr/bin/env python3
"""Golden renderings of chat templates from transformers' own Jinja environment, for
tests/text/chat_template_test.cpp.

Run with transformers and jinja2 (their versions stand in the files):
    python tests/data/make_chat_templates.py tests/data/chat_templates
conversations.json: templates in the manner of public models (the prompt formats are theirs, as
published with the models' tokenizers; the templates are written here) with conversations.
expressions.json: small templates that pin the language down, one a line with what it renders to, or
null where the reference refuses. To add one, write it there with null and run this; all are
rendered anew.
"""
import json
import os
import sys

import jinja2
import transformers
from transformers.utils.chat_template_utils import _cached_compile_jinja_template as compiled

USER = {"role": "user", "content": "What is 2+2?"}
ANSWER = {"role": "assistant", "content": " It is 4. "}
THANKS = {"role": "user", "content": "Merci, c'est <très> \"clair\" 😀\n"}
SYSTEM = {"role": "system", "content": "You are terse.\n"}
TOOL = {
    "type": "function", "function": {
        "name": "get_weather", "description": "The weather of a city, today & tomorrow",
        "parameters": {
            "type": "object", "properties": {
                "city": {"type": "string", "description": "A <city>"},
                "days": {"type": "integer", "default": 1}
            }, "required": ["city"]
        }
    }
}
CALL = {
    "role": "assistant", "content": "", "tool_calls": [{
        "id": "abcdefghi", "type": "function",
        "function": {"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}
    }]
}
RESULT = {
    "role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather",
    "content": "{\"sky\": \"grey\"}"
}

PLAIN = [("one turn", [USER], {}), ("turns", [USER, ANSWER, THANKS], {}),
         ("system", [SYSTEM, USER], {}), ("system, turns", [SYSTEM, USER, ANSWER, THANKS], {}),
         ("two users", [USER, THANKS], {}), ("no messages", [], {})]
TOOLS = [("tools", [USER], {"tools": [TOOL]}),
         ("call", [SYSTEM, USER, CALL, RESULT], {"tools": [TOOL]}),
         ("call and answer", [USER, CALL, RESULT, ANSWER, THANKS], {"tools": [TOOL]}),
         ("two results", [USER, CALL, RESULT, RESULT, ANSWER], {"tools": [TOOL, TOOL]})]

TEMPLATES = {
    "chatml":
        ({}, PLAIN, "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
         "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"),
    "smollm2":
        ({}, PLAIN,
         "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
         "{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}"
         "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% "
         "endfor %}"
         "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"),
    "zephyr": ({"eos_token": "</s>"}, PLAIN, """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""),
    "llama2": ({"bos_token": "<s>",
                "eos_token": "</s>"}, PLAIN, """{%- if messages[0].role == 'system' -%}
  {%- set system = '<<SYS>>\n' ~ messages[0].content | trim ~ '\n<</SYS>>\n\n' -%}
  {%- set turns = messages[1:] -%}
{%- else -%}
  {%- set system = '' -%}
  {%- set turns = messages -%}
{%- endif -%}
{%- for m in turns -%}
  {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('user and assistant must take turns') -}}
  {%- endif -%}
  {%- set text = system + m.content if loop.index0 == 0 else m.content -%}
  {%- if m.role == 'user' -%}
    {{- bos_token + '[INST] ' + text.strip() + ' [/INST]' -}}
  {%- elif m.role == 'assistant' -%}
    {{- ' ' ~ text.strip() ~ ' ' ~ eos_token -}}
  {%- endif -%}
{%- endfor -%}"""),
    "llama3": (
        {"bos_token": "<|begin_of_text|>"
        }, PLAIN, "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ "
        "message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content "
        "}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% "
        "endif %}"),
    "llama3_tools": ({"bos_token": "<|begin_of_text|>",
                      "date_string": "26 Jul 2024"}, PLAIN + TOOLS, """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") if strftime_now is defined else "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- The system message stands apart, so that tools can be added to it. #}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: ipython\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\n\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\n\n" }}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\n\n" }}
    {%- endfor %}
{%- endif %}
{{- system }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + \
message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls | length == 1 %}
            {{- raise_exception("only one call at a time") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {%- if builtin_tools is defined and call.name in builtin_tools %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
            {{- "<|python_tag|>" + call.name + ".call(" }}
            {%- for name, value in call.arguments | items %}
                {{- name + '="' ~ value ~ '"' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- endif %}
            {%- endfor %}
            {{- ")<|eom_id|>" }}
        {%- else %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
            {{- '{"name": "' + call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- call.arguments | tojson }}
            {{- "}" }}
            {{- "<|eot_id|>" }}
        {%- endif %}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""),
    "mistral":
        ({"bos_token": "<s>",
          "eos_token": "</s>"}, PLAIN, "{{ bos_token }}{% for message in messages %}"
         "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles "
         "must alternate') }}{% endif %}"
         "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
         "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}"
         "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif "
         "%}{% endfor %}"),
    "mistral_tools": ({"bos_token": "<s>", "eos_token": "</s>"}, PLAIN + TOOLS,
                      """{%- if messages and messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set users = turns | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in turns %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls \
is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in turns %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == users[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val | tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function | tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id | length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length \
9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{% else %}{{- "]" + eos_token }}{% endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] | trim + eos_token }}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content | string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of \
an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""),
    "qwen2": ({}, PLAIN + TOOLS, """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nSignatures within <tools></tools> XML tags:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nAnswer with {\\"name\\": <name>, \\"arguments\\": <args>} within \
<tool_call></tool_call> tags.<|im_end|>\\n" }}
{%- else %}
    {%- if messages and messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or \
(message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""),
    "qwen3": ({"enable_thinking": False}, PLAIN,
              """{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and \
not(message.content.startswith('<r>') and message.content.endswith('</r>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- set reasoning = '' %}
    {%- if '</think>' in content %}
        {%- set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1]\
.lstrip('\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\n' }}
    {%- if message.role == 'assistant' and loop.index0 > ns.last %}{{- '<think>\n' + \
reasoning.strip('\n') + '\n</think>\n\n' }}{%- endif %}
    {{- content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}"""),
    "phi3":
        ({"eos_token": "<|endoftext|>"}, PLAIN,
         "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + "
         "message['content'] + '<|end|>\n'}}"
         "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
         "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + "
         "'<|end|>\n'}}{% endif %}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
        ),
    "gemma": (
        {"bos_token": "<bos>"
        }, PLAIN, "{{ bos_token }}{% if messages and messages[0]['role'] == 'system' %}{{ "
        "raise_exception('System role not supported') }}{% endif %}"
        "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) "
        "%}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') "
        "}}{% endif %}"
        "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = "
        "message['role'] %}{% endif %}"
        "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% "
        "endfor %}"
        "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"),
    "deepseek": (
        {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}, PLAIN + TOOLS,
        "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% "
        "endif %}"
        "{% set ns = namespace(is_first=false, is_tool=false, system_prompt='') %}"
        "{%- for message in messages %}{%- if message['role'] == 'system' %}{% set "
        "ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}"
        "{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}"
        "{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + "
        "message['content']}}{%- endif %}"
        "{%- if message['role'] == 'assistant' and message['tool_calls'] is defined %}{%- set "
        "ns.is_tool = false -%}"
        "{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}"
        "{{'<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' "
        "+ tool['function']['name'] + '\\n' + '```json' + '\\n' "
        "+ tool['function']['arguments'] | tojson + '\\n' + '```' + '<｜tool▁call▁end｜>'}}{%- set "
        "ns.is_first = true -%}"
        "{%- else %}{{'\\n' + '<｜tool▁call▁begin｜>' + tool['type']}}{%- endif %}{%- endfor "
        "%}{{'<｜tool▁calls▁end｜><｜end▁of▁sentence｜>'}}{%- endif %}"
        "{%- if message['role'] == 'assistant' and message['tool_calls'] is not defined %}{% set "
        "content = message['content'] %}"
        "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif "
        "%}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}"
        "{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{'<｜tool▁output▁begin｜>' "
        "+ message['content'] + '<｜tool▁output▁end｜>'}}{%- endif %}{%- endfor -%}"
        "{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}{% endif %}"),
    "macro_tools": ({"bos_token": "<s>"}, TOOLS, """{%- macro render(spec, depth=0) -%}
  {%- for key, value in spec | dictsort -%}
    {{ '  ' * depth ~ key }}:
    {%- if value is mapping %}{{ '\n' }}{{ render(value, depth + 1) }}
    {%- elif value is iterable and value is not string %} [{{ value | map('tojson') | join(', ') \
}}]{{ '\n' }}
    {%- else %} {{ value }}{{ '\n' }}
    {%- endif -%}
  {%- endfor -%}
{%- endmacro -%}
{% for tool in tools or [] %}
### {{ tool.function.name | title }} ({{ loop.index }}/{{ loop.length }})
{{ render(tool.function.parameters) }}
{% endfor %}
{% for m in messages if m.role != 'tool' %}
{% generation %}
{{ m.role | upper }}{{ ': ' ~ (m.content | trim or '(call)') }}
{% endgeneration %}
{% else %}
nothing
{% endfor %}"""),
}

MESSAGES = [{"role": "user", "content": "Hello there"},
            {"role": "assistant", "content": " Hi \"you\" "}, {"role": "user", "content": "Bye é"}]
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}


def render(template, messages, variables, prompt=True):
    """The text, or none where the reference refuses."""
    try:
        return compiled(template).render(messages=messages,
                                         add_generation_prompt=prompt,
                                         **({"tools": None, "documents": None} | variables))
    except Exception:
        return None


def main(out):
    versions = {
        "transformers": transformers.__version__, "jinja2": jinja2.__version__,
        "script": "tests/data/make_chat_templates.py"
    }
    conversations = []
    for name, (variables, cases, template) in TEMPLATES.items():
        rendered = []
        for what, messages, more in cases:
            for prompt in (True, False):
                text = render(template, messages, variables | more, prompt)
                rendered.append({
                    "case": what, "messages": messages, "variables": variables | more,
                    "add_generation_prompt": prompt, "text": text
                })
        assert any(r["text"] for r in rendered), name
        conversations.append({"name": name, "template": template, "cases": rendered})
    with open(os.path.join(out, "conversations.json"), "w") as f:
        json.dump(versions | {"templates": conversations}, f, ensure_ascii=False, indent=1)
    with open(os.path.join(out, "expressions.json")) as f:
        templates = [template for template, _ in json.load(f)["cases"]]
    with open(os.path.join(out, "expressions.json"), "w") as f:
        head = versions | {"messages": MESSAGES, "variables": VARIABLES}
        lines = ",\n".join(
            json.dumps([t, render(t, MESSAGES, VARIABLES)], ensure_ascii=False) for t in templates)
        f.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "cases": [\n' + lines + "\n]}\n")
    print(sum(len(c["cases"]) for c in conversations), "conversations,", len(templates),
          "expressions")


if __name__ == "__main__":
    main(sys.argv[1])
