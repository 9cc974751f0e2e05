"""A random forest that tells handwritten digits, by cross-validation."""

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score

from tunectl.objectives import Trial


def run(trial: Trial) -> dict[str, float]:
    """Return the mean accuracy over five folds, and how far they are apart."""
    images, digits = load_digits(return_X_y=True)
    forest = RandomForestClassifier(random_state=trial.seed, **trial.config["forest"])
    folds = StratifiedKFold(trial.config["folds"], shuffle=True, random_state=trial.seed)
    scores = cross_val_score(forest, images, digits, cv=folds)
    return {"accuracy": scores.mean(), "spread": scores.std()}
