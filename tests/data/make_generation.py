#!/usr/bin/env python3
"""Golden values of generation from the reference implementation, for tests/infer.

Run after make_gpt2.py and make_tokenizer.py, with torch and transformers (their versions stand in
the output):
    python tests/data/make_generation.py tests/data
Writes generation.json: greedy continuations, log-probabilities and beam searches of the golden
models (computed in fp64), greedy and beam search under each parameter, the probabilities (with
beams: the scores) after the reference's processors for fixed logits, and where its stop strings
end a text.
"""
import json
import math
import os
import random
import sys
from types import SimpleNamespace

import torch
import transformers
from transformers import GenerationConfig, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.generation import StopStringCriteria

LENGTHS = [1, 3, 7, 12, 25, 60]
NEW = 30

# Options of single processors and warpers, then of several at once.
SAMPLER = [
    dict(),
    dict(repetition_penalty=1.3),
    dict(repetition_penalty=0.7),
    dict(no_repeat_ngram_size=1),
    dict(no_repeat_ngram_size=2),
    dict(no_repeat_ngram_size=3),
    dict(no_repeat_ngram_size=40),
    dict(bad_words_ids=[[3], [4, 5], [1, 2, 9], [7, 1, 2, 6]]),
    dict(bad_words_ids=[[11], [3]], eos_token_id=[11]),
    dict(min_new_tokens=9, eos_token_id=11),
    dict(min_new_tokens=3, eos_token_id=11),
    dict(min_new_tokens=9, eos_token_id=[11, 3, 5]),
    dict(temperature=0.7),
    dict(temperature=2.5),
    dict(top_k=1),
    dict(top_k=5),
    dict(top_k=12),
    dict(top_k=1000),
    dict(top_p=0.0),
    dict(top_p=0.3),
    dict(top_p=0.8),
    dict(top_p=0.999),
    dict(min_p=0.05),
    dict(min_p=0.5),
    dict(min_p=1.0),
    dict(typical_p=0.1),
    dict(typical_p=0.5),
    dict(typical_p=0.95),
    dict(temperature=0.8, top_k=10, top_p=0.9),
    dict(temperature=1.5, top_k=20, top_p=0.7, min_p=0.02),
    dict(temperature=0.5, typical_p=0.7, min_p=0.01),
    dict(repetition_penalty=1.2,
         no_repeat_ngram_size=2,
         min_new_tokens=9,
         eos_token_id=[11, 3],
         temperature=0.9,
         top_k=15,
         top_p=0.95,
         min_p=0.01,
         typical_p=0.9,
         bad_words_ids=[[8], [2, 10]]),
    dict(repetition_penalty=2.0, bad_words_ids=[[8]], top_k=3, num_beams=3, eos_token_id=[11, 3]),
    dict(top_p=0.1, num_beams=2),
    dict(min_p=0.9, num_beams=2, eos_token_id=5),
    dict(top_k=1, num_beams=4),
    dict(sequence_bias=[[[3], -2.0], [[1, 2, 6], 1.5], [[2, 6], 0.25], [[2, 7], -4.0],
                        [[9, 1, 2, 5], 3.0], [[6, 1, 2, 8], 2.5], [[8], 0.5]]),
    dict(sequence_bias=[[[3], 4.0], [[3], -1.0]], temperature=0.6),
    dict(sequence_bias=[[[2, 5], 3.0]], num_beams=2),
    dict(encoder_repetition_penalty=1.5),
    dict(encoder_repetition_penalty=0.7, repetition_penalty=1.3),
    dict(encoder_no_repeat_ngram_size=2),
    dict(encoder_no_repeat_ngram_size=3),
    dict(min_length=11, eos_token_id=[11, 3]),
    dict(min_length=10, eos_token_id=[11, 3]),
    dict(min_length=12, min_new_tokens=2, eos_token_id=[11, 3]),
    dict(forced_bos_token_id=6),
    dict(forced_eos_token_id=9, max_new_tokens=6),
    dict(forced_eos_token_id=9, max_new_tokens=7),
    dict(forced_eos_token_id=[9, 4, 30], max_new_tokens=6, suppress_tokens=[4, 8]),
    dict(forced_eos_token_id=[9, 4], max_new_tokens=6, num_beams=2),
    dict(exponential_decay_length_penalty=[2, 1.5], eos_token_id=[11, 3]),
    dict(exponential_decay_length_penalty=[5, 1.5], eos_token_id=[11, 3]),
    dict(exponential_decay_length_penalty=[0, 0.5], eos_token_id=11),
    dict(exponential_decay_length_penalty=[1, 1.2], eos_token_id=[11, 3], num_beams=3,
         min_new_tokens=9),
    dict(suppress_tokens=[4, 17, 30]),
    dict(suppress_tokens=[4, 17, 30], num_beams=2),
    dict(begin_suppress_tokens=[4, 17, 30]),
    dict(top_h=0.05),
    dict(top_h=0.4),
    dict(top_h=0.8),
    dict(top_h=0.7, temperature=0.5, top_k=6),
    dict(top_h=0.01, num_beams=3),
    dict(epsilon_cutoff=0.01),
    dict(epsilon_cutoff=0.1),
    dict(epsilon_cutoff=0.9),
    dict(epsilon_cutoff=0.9, num_beams=2, eos_token_id=[11, 3]),
    dict(eta_cutoff=0.01),
    dict(eta_cutoff=0.3),
    dict(eta_cutoff=0.6, num_beams=2),
    dict(eta_cutoff=0.02, epsilon_cutoff=0.005, typical_p=0.9, temperature=1.4),
    dict(renormalize_logits=True),
    dict(renormalize_logits=True, num_beams=2, top_k=5, suppress_tokens=[17]),
    dict(renormalize_logits=True, num_beams=2, repetition_penalty=1.5, do_sample=False),
    dict(remove_invalid_values=True, bad_words_ids=[[8], [2, 10]]),
    dict(remove_invalid_values=True, bad_words_ids=[[8]], num_beams=2, temperature=2.0),
    dict(guidance_scale=2.5),
    dict(guidance_scale=0.5, temperature=1.3, top_p=0.9),
    dict(guidance_scale=-1.0, suppress_tokens=[17], repetition_penalty=1.2),
    dict(sequence_bias=[[[2, 5], 3.0], [[11], -0.5]],
         encoder_repetition_penalty=1.1,
         repetition_penalty=1.2,
         no_repeat_ngram_size=2,
         encoder_no_repeat_ngram_size=2,
         bad_words_ids=[[8], [2, 10]],
         min_length=9,
         eos_token_id=[11, 3],
         exponential_decay_length_penalty=[1, 1.3],
         suppress_tokens=[20, 21],
         begin_suppress_tokens=[22],
         guidance_scale=1.5,
         temperature=0.9,
         top_h=0.9,
         top_k=15,
         top_p=0.95,
         min_p=0.01,
         typical_p=0.9,
         epsilon_cutoff=0.01,
         eta_cutoff=0.02),
]

# Where the continuation begins: how many of the tokens are there, and how many of them the prompt.
BEGINS = [
    (5, 5, dict(begin_suppress_tokens=[4, 17, 30])),
    (6, 5, dict(begin_suppress_tokens=[4, 17, 30])),
    (1, 1, dict(begin_suppress_tokens=[4, 17, 30])),
    (1, 1, dict(forced_bos_token_id=6)),
    (1, 1, dict(forced_bos_token_id=6, begin_suppress_tokens=[4, 6])),
    (2, 1, dict(forced_bos_token_id=6, begin_suppress_tokens=[4, 17])),
    (3, 1, dict(forced_bos_token_id=6, begin_suppress_tokens=[4, 17])),
    (1, 1, dict(forced_bos_token_id=6, num_beams=2)),
    (5, 5, dict(exponential_decay_length_penalty=[0, 2.0], eos_token_id=[11])),
    (6, 5, dict(exponential_decay_length_penalty=[0, 2.0], eos_token_id=[11])),
    (5, 5, dict(sequence_bias=[[[2, 3, 9, 5], 3.0], [[7, 1, 2, 3, 9, 4], -3.0]])),
    (5, 5, dict(forced_eos_token_id=9, max_new_tokens=1)),
]

# Logits that are no numbers.
BROKEN = [
    dict(),
    dict(repetition_penalty=1.3),
    dict(bad_words_ids=[[0], [1], [5]]),
    dict(sequence_bias=[[[2], 1.0], [[4], -3.0]]),
    dict(suppress_tokens=[1, 3]),
    dict(num_beams=2),
    dict(top_k=2),
]

# Of a vocabulary above the hundred tokens that top_h looks at.
WIDE = [dict(top_h=0.3), dict(top_h=0.95), dict(top_h=0.999), dict(top_h=0.9, temperature=3.0)]


def sampler_cases(model):
    generator = torch.Generator().manual_seed(11)
    V = 40
    plain = torch.randn(V, generator=generator) * 2
    ties = (torch.randn(V, generator=generator) * 2).round()
    peaked = torch.randn(V, generator=generator)
    peaked[17] = 30.0
    other = torch.randn(V, generator=generator) * 2  # without the prompt, where there is guidance
    wide = torch.randn(150, generator=generator)
    inf, nan = math.inf, math.nan
    broken = torch.tensor([0.5, nan, 2.0, -inf, -1.0, inf, 2.5, 1.0])
    rows = {
        "plain": plain, "ties": ties, "peaked": peaked, "other": other, "wide": wide,
        "broken": broken, "none": torch.full([8], -inf)
    }
    seen = [7, 1, 2, 3, 9, 1, 2, 6, 1, 2]

    def case(name, options, n_seen=len(seen), n_prompt=5):
        settings = dict(dict(top_k=0, do_sample=True), **options)
        config = GenerationConfig(**settings)
        config.max_length = n_prompt + settings.get("max_new_tokens", 20)
        if config.min_new_tokens is not None:
            config.min_length = n_prompt + config.min_new_tokens
        model._prepare_special_tokens(config, kwargs_has_attention_mask=True, device="cpu")
        processors = model._get_logits_processor(
            config,
            input_ids_seq_length=n_prompt,
            encoder_input_ids=torch.tensor([seen[:n_prompt]]),
            prefix_allowed_tokens_fn=None,
            logits_processor=transformers.LogitsProcessorList(),
            device="cpu")
        if config.guidance_scale is not None:
            processors[0].model = lambda *_, **__: Output(logits=other[None, None])
        scores = rows[name][None].clone()
        beams = settings.get("num_beams", 1) > 1
        if beams:
            scores = scores.log_softmax(-1)
        scores = processors(torch.tensor([seen[:n_seen]]), scores)[0]
        result = {"logits": name, "options": settings, "n_seen": n_seen, "n_prompt": n_prompt}
        if beams:
            result["scores"] = text(scores)
        else:
            probabilities = torch.softmax(scores.double(), -1).tolist()
            result["probabilities"] = [round(p, 9) for p in probabilities]
        return result

    cases = [case(name, o) for name in ("plain", "ties", "peaked") for o in SAMPLER]
    cases += [case("plain", o, n_seen, n_prompt) for n_seen, n_prompt, o in BEGINS]
    cases += [
        case(name, dict(o, remove_invalid_values=True)) for name in ("broken", "none")
        for o in BROKEN
    ]
    cases += [case("wide", o) for o in WIDE]
    return {
        "seen": seen, "logits": {name: text(row)
                                 for name, row in rows.items()}, "cases": cases
    }


class Output(SimpleNamespace):
    """What a model returns, as far as guidance reads it."""

    def get(self, key, default=None):
        return getattr(self, key, default)


def text(row):
    """Numbers that JSON has, the others as texts."""
    return [x if math.isfinite(x) else str(x) for x in row.tolist()]


def continue_one(model, ids, **options):
    """Without a mask the reference would hide prompt tokens that equal the pad token."""
    prompt = torch.tensor([ids])
    return model.generate(prompt,
                          attention_mask=torch.ones_like(prompt),
                          do_sample=False,
                          pad_token_id=0,
                          **dict(dict(eos_token_id=None), **options))


def logprobs_of(model, ids):
    logits = model(torch.tensor([ids])).logits[0, :-1]
    return torch.log_softmax(logits, -1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


def beam_cases(model, prompts, greedy):
    common = max(set(sum(greedy, [])), key=sum(greedy, []).count)
    rare = greedy[2][3]
    settings = [
        dict(num_beams=2),
        dict(num_beams=4, num_return_sequences=4),
        dict(num_beams=3, length_penalty=-1.0, eos_token_id=[common, rare]),
        dict(num_beams=4, num_return_sequences=3, eos_token_id=[common]),
        dict(num_beams=4, early_stopping=True, num_return_sequences=2, eos_token_id=[common, rare]),
        dict(num_beams=3, early_stopping="never", length_penalty=2.0, eos_token_id=[common, rare]),
        dict(num_beams=5, no_repeat_ngram_size=2, repetition_penalty=1.2),
        dict(num_beams=3,
             length_penalty=0.0,
             early_stopping="never",
             min_new_tokens=4,
             eos_token_id=[common, rare]),
        dict(num_beams=2, eos_token_id=list(range(0, 100)), num_return_sequences=2)
    ]
    cases = []
    for options in settings:
        for p in (0, 2, 3):
            out = continue_one(model,
                               prompts[p],
                               max_new_tokens=12,
                               return_dict_in_generate=True,
                               output_scores=True,
                               **options)
            sequences = []
            for row, indices in zip(out.sequences.tolist(), out.beam_indices.tolist()):
                sequences.append(row[len(prompts[p]):len(prompts[p]) +
                                     sum(i >= 0 for i in indices)])
            cases.append({
                "prompt": p, "options": options, "sequences": sequences,
                "scores": out.sequences_scores.tolist()
            })
    return cases


def parameter_cases(model, prompts, greedy):
    """Each parameter alone and with others, greedily and with beams; what each changes is seen."""
    common = max(set(sum(greedy, [])), key=sum(greedy, []).count)
    a, b = greedy[2][0], greedy[2][2]
    ends = dict(eos_token_id=[common, b])
    settings = [
        (2, dict(sequence_bias=[[[a], -3.0], [[prompts[2][-1], 7], 9.0], [[7, 9, 11], 2.0]])),
        (3, dict(encoder_repetition_penalty=1.6)),
        (3, dict(encoder_no_repeat_ngram_size=2, encoder_repetition_penalty=1.6)),
        (2, dict(bad_words_ids=[[a], [b, b]])),
        (2, dict(ends, min_length=14)),
        (2, dict(ends, min_length=30, min_new_tokens=6)),
        (0, dict(forced_bos_token_id=5)),
        (0, dict(forced_bos_token_id=5, begin_suppress_tokens=greedy[0][:1] + [65, 162])),
        (2, dict(forced_eos_token_id=9)),
        (2, dict(ends, forced_eos_token_id=[9, b], suppress_tokens=[common])),
        (3, dict(eos_token_id=[5, 6], exponential_decay_length_penalty=[4, 1.6])),
        (2, dict(suppress_tokens=[a, b])),
        (2, dict(begin_suppress_tokens=[a])),
        (3, dict(remove_invalid_values=True, suppress_tokens=greedy[3][:1])),
        (2, dict(suppress_tokens=[a], renormalize_logits=True, repetition_penalty=1.4)),
        (2, dict(ends,
                 sequence_bias=[[[a], -1.0], [[b, b], -2.0]],
                 repetition_penalty=1.2,
                 no_repeat_ngram_size=2,
                 encoder_no_repeat_ngram_size=2,
                 bad_words_ids=[[9]],
                 min_length=10,
                 forced_eos_token_id=b,
                 exponential_decay_length_penalty=[2, 1.1],
                 suppress_tokens=[17],
                 begin_suppress_tokens=[a])),
    ]
    guided = [
        (2, dict(guidance_scale=2.5)),
        (2, dict(guidance_scale=-0.5)),
        (1, dict(guidance_scale=3.0)),
        (5, dict(guidance_scale=1.7, repetition_penalty=1.2, suppress_tokens=[17])),
        (2, dict(guidance_scale=4.0, negative_prompt_ids=[11, 7, 30, 2, 5])),
    ]
    cases = []
    for p, options in settings + guided:
        for beams in (1, ) if "guidance_scale" in options else (1, 3):
            run = dict(options)
            if "negative_prompt_ids" in run:
                run["negative_prompt_ids"] = torch.tensor([run["negative_prompt_ids"]])
            if beams > 1:
                options = dict(options, num_beams=beams, num_return_sequences=2)
                run.update(num_beams=beams, num_return_sequences=2)
            out = continue_one(model,
                               prompts[p],
                               max_new_tokens=12,
                               return_dict_in_generate=True,
                               output_scores=True,
                               **run)
            n = len(prompts[p])
            rows = [row[n:] for row in out.sequences.tolist()]
            eos = options.get("eos_token_id", [])
            for row in rows:  # what follows an end token is padding
                for i, id in enumerate(row):
                    if id in eos:
                        del row[i + 1:]
                        break
            if beams == 1:
                assert rows[0] != greedy[p][:12], f"{options} changes nothing"
            case = {"prompt": p, "options": options, "sequences": rows}
            if beams > 1:
                case["scores"] = out.sequences_scores.tolist()
            cases.append(case)
    return cases


def model_cases(folder):
    model = GPT2LMHeadModel.from_pretrained(folder).double().eval()
    model.generation_config = GenerationConfig()
    V = model.config.vocab_size
    rng = random.Random(5)
    prompts = [[rng.randrange(V) for _ in range(n)] for n in LENGTHS]
    greedy = [continue_one(model, p, max_new_tokens=NEW)[0, len(p):].tolist() for p in prompts]
    longest = max(LENGTHS)
    padded = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    together = model.generate(padded,
                              attention_mask=mask,
                              do_sample=False,
                              max_new_tokens=NEW,
                              eos_token_id=None,
                              pad_token_id=0)[:, longest:].tolist()
    assert together == greedy, "the reference's batch differs from its single prompts"
    processed = dict(repetition_penalty=1.3,
                     no_repeat_ngram_size=2,
                     bad_words_ids=[[greedy[1][0]], [greedy[3][0], greedy[3][1]]])
    penalised = [
        continue_one(model, p, max_new_tokens=NEW, **processed)[0, len(p):].tolist()
        for p in prompts
    ]
    return {
        "prompts": prompts, "greedy": greedy,
        "processed": {"options": processed, "greedy": penalised},
        "logprobs": [logprobs_of(model, p + g) for p, g in zip(prompts, greedy)],
        "beams": beam_cases(model, prompts, greedy),
        "parameters": parameter_cases(model, prompts, greedy)
    }


def stop_cases(file):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=file)
    texts = [("the water", " may be over there, down only; naïve café 東京 and 3.14 more"),
             ("a", " b c don't stop\n\nnow"), ("one\n", "two\n\nthree")]
    stops = [[" there"], ["er"], [","], ["wn on"], ["caf\u00e9"], ["\u6771"], ["京 and 3"],
             ["3.1", "zzz"], ["\n"], ["\n\n"], ["t sto"], ["water may"], ["er m"], ["one"], ["the"],
             ["n\nt"], ["absent"], [" "], ["e o", "r th"]]
    cases = []
    for prompt, new in texts:
        head, tail = tokenizer(prompt).input_ids, tokenizer(new).input_ids
        for stop in stops:
            criteria = StopStringCriteria(tokenizer, stop)
            hits = [
                i for i in range(len(tail))
                if criteria(torch.tensor([head + tail[:i + 1]]), None)[0].item()
            ]
            cases.append(
                {"prompt": head, "ids": tail, "stop": stop, "n_new": hits[0] + 1 if hits else 0})
    return cases


def main(out):
    torch.set_num_threads(1)
    data = {
        "made_by": "tests/data/make_generation.py", "torch": torch.__version__,
        "transformers": transformers.__version__
    }
    for name in ("gpt2_h3", "gpt2_h5"):
        data[name] = model_cases(os.path.join(out, name))
    data["sampler"] = sampler_cases(GPT2LMHeadModel.from_pretrained(os.path.join(out, "gpt2_h3")))
    data["stop"] = stop_cases(os.path.join(out, "tokenizer", "tokenizer.json"))
    with open(os.path.join(out, "generation.json"), "w") as f:
        json.dump(data, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
