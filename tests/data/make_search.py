#!/usr/bin/env python3
"""Golden values of searches from the reference implementation, for tests/infer.

Run after make_gpt2.py, make_tokenizer.py and make_families.py, with torch and transformers (their
versions stand in the output):
    python tests/data/make_search.py tests/data
Writes search.json: beam searches of gpt2_h5 under stop strings, bans, minimal lengths and several
end tokens, and continuations of
phi3_longrope that stay below its original context, cross it or begin above it, and of a llama with
such angles.
"""
import json
import os
import random
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast

N_BEAM_CASES = 36
NEVER = -1e8  # the reference's scores of what is no result lie below


def generate(model, ids, **options):
    """Without a mask the reference would hide prompt tokens that equal the pad token."""
    prompt = torch.tensor([ids])
    defaults = dict(do_sample=False,
                    eos_token_id=None,
                    pad_token_id=0,
                    return_dict_in_generate=True,
                    output_scores=True,
                    output_logits=True)
    return model.generate(prompt,
                          attention_mask=torch.ones_like(prompt),
                          **dict(defaults, **options))


def results_of(out, n_prompt):
    rows = zip(out.sequences.tolist(), out.beam_indices.tolist())
    return [row[n_prompt:n_prompt + sum(i >= 0 for i in indices)] for row, indices in rows]


def likely_tokens(model, ids, n):
    return generate(model, ids, max_new_tokens=1).logits[0][0].topk(n).indices.tolist()


def random_options(rng, model, tokenizer, ids):
    """Options of one search, and its stop strings; ends and bans are of tokens that are likely to
    be found."""
    likely = likely_tokens(model, ids, 24)
    o = {"num_beams": rng.randint(2, 5), "max_new_tokens": rng.randint(3, 12)}
    o["num_return_sequences"] = rng.randint(1, o["num_beams"])
    if rng.random() < 0.6:
        o["eos_token_id"] = rng.sample(likely, rng.randint(1, 3))
    if rng.random() < 0.4:
        o["min_new_tokens"] = rng.randint(1, 4)
    if rng.random() < 0.4:
        o["bad_words_ids"] = [[t] for t in rng.sample(likely, rng.randint(1, 8))
                             ] + [rng.sample(likely, 2) for _ in range(rng.randint(0, 6))]
        ends = o.get("eos_token_id", [])
        o["bad_words_ids"] = [w for w in o["bad_words_ids"] if len(w) > 1 or w[0] not in ends
                             ] or [[likely[-1], likely[-2]]]
    if rng.random() < 0.2:
        o["no_repeat_ngram_size"] = rng.randint(1, 3)
    if rng.random() < 0.5:
        o["length_penalty"] = rng.choice([-1.0, 0.0, 0.5, 2.0])
    if rng.random() < 0.5:
        o["early_stopping"] = rng.choice([True, "never"])
    stop = []
    if rng.random() < 0.7:
        texts = sorted({c for t in likely for c in tokenizer.decode([t])})
        stop = rng.sample(texts, rng.randint(1, len(texts)))
    return o, stop


def gaps_are_clear(scores):
    """Neither ties nor what rounding could turn."""
    return all(a - b > 1e-4 for a, b in zip(scores, scores[1:]))


def beam_case(rng, model, tokenizer, prompts):
    p = rng.randrange(len(prompts))
    options, stop = random_options(rng, model, tokenizer, prompts[p])
    out = generate(model,
                   prompts[p],
                   stop_strings=stop or None,
                   tokenizer=tokenizer if stop else None,
                   **options)
    scores = out.sequences_scores.tolist()
    if min(scores) < NEVER or not gaps_are_clear(scores):
        return None
    return {
        "prompt": p, "options": options, "stop": stop,
        "sequences": results_of(out, len(prompts[p])), "scores": scores
    }


def beam_cases(folder, n=N_BEAM_CASES, seed=17):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=os.path.join(folder, "tokenizer", "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "gpt2_h5")).eval()
    model.generation_config = GenerationConfig()
    rng = random.Random(seed)
    prompts = [tokenizer(text).input_ids for text in ("the water", "over there", "a")]
    cases = []
    while len(cases) < n:
        case = beam_case(rng, model, tokenizer, prompts)
        if case:
            cases.append(case)
    return {"prompts": prompts, "cases": cases}


def logprobs_of(out, ids):
    """Of a single continuation, by the logits of each of its steps."""
    return [
        torch.log_softmax(step[0].float(), -1)[token].item()
        for step, token in zip(out.logits, ids)
    ]


def longrope_cases(folder):
    model = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "families",
                                                              "phi3_longrope")).eval()
    model.generation_config = GenerationConfig()
    original, rng = model.config.original_max_position_embeddings, random.Random(3)
    cases = []
    for n_prompt, new in ((3, original - 3), (3, original - 2), (5, 30), (original - 1, 12),
                          (original, 12), (original + 1, 12), (40, 20)):
        prompt = [rng.randrange(model.config.vocab_size) for _ in range(n_prompt)]
        out = generate(model, prompt, max_new_tokens=new)
        ids = out.sequences[0, n_prompt:].tolist()
        case = {"prompt": prompt, "greedy": ids, "logprobs": logprobs_of(out, ids), "beams": []}
        likely = likely_tokens(model, prompt, 6)
        for options in (dict(num_beams=3, num_return_sequences=3),
                        dict(num_beams=4,
                             num_return_sequences=2,
                             eos_token_id=likely[3:5],
                             length_penalty=0.5)):
            out = generate(model, prompt, max_new_tokens=new, **options)
            assert gaps_are_clear(out.sequences_scores.tolist())
            case["beams"].append({
                "options": options, "sequences": results_of(out, n_prompt),
                "scores": out.sequences_scores.tolist()
            })
        cases.append(case)
    return {"original_context": original, "cases": cases}


def kept_cases(folder):
    """LongRoPE where the reference keeps what was read before the crossing: all families but
    Phi-3's."""
    name = os.path.join(folder, "families", "llama_linear")
    config = AutoConfig.from_pretrained(name)
    rope = {
        "rope_type": "longrope", "rope_theta": 100.0, "original_max_position_embeddings": 16,
        "attention_factor": 1.2, "short_factor": [1.0, 1.3, 1.7], "long_factor": [1.2, 2.5, 6.0]
    }
    config.rope_parameters = rope
    model = AutoModelForCausalLM.from_pretrained(name, config=config).eval()
    model.generation_config = GenerationConfig()
    rng, cases = random.Random(7), []
    for n_prompt in (3, 9, 15, 16, 17, 25):
        prompt = [rng.randrange(config.vocab_size) for _ in range(n_prompt)]
        out = generate(model, prompt, max_new_tokens=20)
        ids = out.sequences[0, n_prompt:].tolist()
        cases.append({"prompt": prompt, "greedy": ids, "logprobs": logprobs_of(out, ids)})
    return {"rope": rope, "cases": cases}


def main(out):
    torch.set_num_threads(1)
    data = {
        "made_by": "tests/data/make_search.py", "torch": torch.__version__,
        "transformers": transformers.__version__
    }
    data["beams"] = beam_cases(out)
    data["longrope"] = longrope_cases(out)
    data["longrope_kept"] = kept_cases(out)
    with open(os.path.join(out, "search.json"), "w") as f:
        json.dump(data, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
