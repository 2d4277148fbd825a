#!/usr/bin/env python3
"""Golden values of generation from the reference implementation, for tests/infer.

Run after make_gpt2.py and make_tokenizer.py, with torch and transformers (their versions stand in
the output):
    python tests/data/make_generation.py tests/data
Writes generation.json: greedy continuations, log-probabilities and beam searches of the golden
models (computed in fp64), the probabilities after the reference's processors for fixed logits, and
where its stop strings end a text.
"""
import json
import os
import random
import sys

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
]


def sampler_cases(model):
    generator = torch.Generator().manual_seed(11)
    V = 40
    plain = torch.randn(V, generator=generator) * 2
    ties = (torch.randn(V, generator=generator) * 2).round()
    peaked = torch.randn(V, generator=generator)
    peaked[17] = 30.0
    seen = [7, 1, 2, 3, 9, 1, 2, 6, 1, 2]  # 5 of them the prompt
    cases = []
    for name, logits in (("plain", plain), ("ties", ties), ("peaked", peaked)):
        for options in SAMPLER:
            settings = dict(dict(top_k=0, do_sample=True), **options)
            config = GenerationConfig(**settings)
            model._prepare_special_tokens(config, kwargs_has_attention_mask=True, device="cpu")
            processors = model._get_logits_processor(
                config,
                input_ids_seq_length=5,
                encoder_input_ids=torch.tensor([seen[:5]]),
                prefix_allowed_tokens_fn=None,
                logits_processor=transformers.LogitsProcessorList(),
                device="cpu")
            scores = logits[None].clone()
            if settings.get("num_beams", 1) > 1:
                scores = scores.log_softmax(-1)
            scores = processors(torch.tensor([seen]), scores)[0]
            cases.append({
                "logits": name, "options": settings,
                "probabilities": torch.softmax(scores.double(), -1).tolist(),
                "order": [type(p).__name__ for p in processors]
            })
    return {
        "seen": seen, "n_prompt": 5,
        "logits": {"plain": plain.tolist(), "ties": ties.tolist(),
                   "peaked": peaked.tolist()}, "cases": cases
    }


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
        "beams": beam_cases(model, prompts, greedy)
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
