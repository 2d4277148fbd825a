"""Writes metrics.json beside it: what scikit-learn and scipy say of made-up predictions. Needs
scikit-learn, scipy."""
import json, pathlib
import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, mean_squared_error

rng = np.random.default_rng(1)
cases = []
for n_classes, seen in ((2, 2), (3, 3), (5, 3), (2, 1)):
    actual = rng.integers(0, seen, 40)
    predicted = np.where(rng.random(40) < 0.6, actual, rng.integers(0, seen, 40))
    average = "binary" if n_classes == 2 else "macro"
    cases.append({
        "kind": "classes", "n": n_classes, "predicted": predicted.tolist(),
        "actual": actual.tolist(), "accuracy": accuracy_score(actual, predicted),
        "f1": f1_score(actual, predicted, average=average,
                       zero_division=0), "mcc": matthews_corrcoef(actual, predicted)
    })
actual = rng.integers(0, 2, (30, 4))
actual[:, 3] = 0
predicted = np.where(rng.random((30, 4)) < 0.8, actual, 1 - actual)
predicted[:, 3] = 0
cases.append({
    "kind": "sets", "n": 4, "predicted": predicted.ravel().tolist(),
    "actual": actual.ravel().tolist(), "accuracy": accuracy_score(actual, predicted),
    "f1_micro": f1_score(actual, predicted, average="micro"), "f1_macro": f1_score(actual,
                                                                                   predicted,
                                                                                   average="macro",
                                                                                   zero_division=0)
})
for width in (1, 2):
    actual = rng.integers(0, 6, (25, width)) / 2
    predicted = np.round(actual + rng.normal(size=(25, width)), 1)
    columns = range(width)
    predicted = predicted.astype(np.float32).astype(float)
    cases.append({
        "kind": "numbers", "n": width, "predicted": predicted.ravel().tolist(),
        "actual": actual.ravel().tolist(), "mse": mean_squared_error(actual, predicted),
        "pearson": float(np.mean([pearsonr(predicted[:, k], actual[:, k])[0] for k in columns])),
        "spearman": float(np.mean([spearmanr(predicted[:, k], actual[:, k])[0] for k in columns]))
    })
pathlib.Path(__file__).with_name("metrics.json").write_text(json.dumps(cases) + "\n")
