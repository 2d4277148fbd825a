#!/usr/bin/env python3
"""Golden values of a search over vectors from numpy, for tests/infer/vector_search_test.cpp.

    python tests/data/make_vector_search.py tests/data
Writes vector_search.json: rows and queries of small binary fractions, among the rows one of zeros,
equal ones and ones that are each other's double, so that there are ties; and of each metric every
query's nearest rows with their scores, of equal scores the smaller row first.
"""
import json
import os
import sys

import numpy as np

N, C, Q, TOP_K = 60, 9, 12, 17


def scores_of(metric, rows, query):
    if metric == "l2":
        return np.linalg.norm(rows - query, axis=1)
    products = rows @ query
    if metric == "dot":
        return products
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
    return products / np.maximum(lengths, 1e-12)


def main(folder):
    rng = np.random.default_rng(5)
    rows = rng.integers(-24, 25, (N, C)) / 8.0
    queries = rng.integers(-24, 25, (Q, C)) / 8.0
    rows[7] = 0
    rows[31] = rows[50] = rows[3]
    rows[40] = 2 * rows[12]
    queries[1] = rows[3]
    queries[2] = rows[12]
    results = {}
    for metric in ("cosine", "dot", "l2"):
        results[metric] = []
        for query in queries:
            scores = scores_of(metric, rows, query).round(13)  # ties are ties
            order = np.argsort(scores if metric == "l2" else -scores, kind="stable")[:TOP_K]
            results[metric].append({"rows": order.tolist(), "scores": scores[order].tolist()})
    golden = {"numpy": np.__version__, "top_k": TOP_K, "rows": rows.tolist(),
              "queries": queries.tolist(), "results": results}
    with open(os.path.join(folder, "vector_search.json"), "w", encoding="utf-8") as f:
        json.dump(golden, f)
        f.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
