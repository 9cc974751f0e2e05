"""A small network in bare PyTorch that tells handwritten digits, with pruning and checkpoints."""

import torch
from pydantic import BaseModel
from sklearn.datasets import load_digits
from torch import nn

from tunectl.objectives import Trial


class Network(BaseModel):
    """`network:` in params.yaml."""

    width: int = 32
    dropout: float = 0.1


class Training(BaseModel):
    """`training:` in params.yaml."""

    epochs: int = 30
    learning_rate: float = 1e-3
    batch_size: int = 32
    seed: int = 42


class Config(BaseModel):
    """All that params.yaml may hold beside the objective."""

    network: Network = Network()
    training: Training = Training()


def run(trial: Trial[Config]) -> None:
    """Train, report every epoch; the best report is the trial's value."""
    config, device = trial.config, trial.device
    images, digits = load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32, device=device)
    y = torch.tensor(digits, device=device)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, valid = order[:1300], order[1300:]

    network = nn.Sequential(
        nn.Linear(64, config.network.width),
        nn.ReLU(),
        nn.Dropout(config.network.dropout),
        nn.Linear(config.network.width, 10),
    ).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.training.learning_rate)

    begun = trial.checkpoint.load()
    if begun is not None:
        network.load_state_dict(begun["network"])
        optimiser.load_state_dict(begun["optimiser"])
    for epoch in range(begun["epoch"] + 1 if begun else 1, config.training.epochs + 1):
        torch.manual_seed(trial.seed * 1000 + epoch)  # a resumed trial draws what it would have
        network.train()
        for batch in train[torch.randperm(len(train))].split(config.training.batch_size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimiser.step()
        network.eval()
        with torch.no_grad():
            right = network(x[valid]).argmax(1) == y[valid]
        trial.report(epoch, accuracy=right.float().mean().item())
        if trial.should_prune():
            return
        trial.checkpoint.save(
            epoch=epoch, network=network.state_dict(), optimiser=optimiser.state_dict()
        )
    weights = trial.directory / "network.pt"
    torch.save(network.state_dict(), weights)
