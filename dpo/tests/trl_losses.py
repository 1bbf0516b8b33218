"""The losses of `dpo/tests/losses.rs` as TRL 1.16 computes them, by its own DPOTrainer._compute_loss and
CPOTrainer.cpo_loss, on three pairs with invented log-probs. It prints the table of the test.

Usage: python trl_losses.py
"""
import collections, types
import torch
from trl import DPOTrainer
from trl.experimental.cpo import CPOTrainer

# Sums of log-probs over 5 and 3, 2 and 4, 4 and 4 tokens.
chosen = torch.tensor([-12.5, -3.0, -9.0])
rejected = torch.tensor([-9.0, -14.0, -9.5])
reference_chosen = torch.tensor([-14.0, -2.5, -9.0])
reference_rejected = torch.tensor([-8.0, -15.0, -9.0])
chosen_tokens, rejected_tokens = [5, 2, 4], [3, 4, 4]


def dpo(kind, beta):
    rows = 6
    mask = torch.zeros(rows, 7, dtype=torch.long)
    per_token = torch.zeros(rows, 6)
    for row, (total, count) in enumerate(zip(torch.cat([chosen, rejected]), chosen_tokens + rejected_tokens)):
        mask[row, 1:1 + count] = 1
        per_token[row, :count] = total / count
    outputs = types.SimpleNamespace(log_probs=per_token, entropy=torch.zeros(rows, 6), mean_logits=torch.zeros(rows, 6),
                                    is_top1=torch.zeros(rows, 6, dtype=torch.bool))
    model = lambda **_: outputs
    identity = types.SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    losses = []
    for pair in range(3):                    # _compute_loss returns a mean: one pair at a time
        pick = [pair, pair + 3]
        part = types.SimpleNamespace(**{k: v[pick] for k, v in vars(outputs).items()})
        self = types.SimpleNamespace(
            model=types.SimpleNamespace(training=True), accelerator=identity, aux_loss_enabled=False, ld_alpha=None,
            precompute_ref_logps=True, f_divergence_type="reverse_kl", loss_types=[kind], loss_weights=[1.0], beta=beta,
            label_smoothing=0.0, use_weighting=False, _metrics={"train": collections.defaultdict(list)},
            _total_train_tokens=0, _tp_size=1)
        inputs = {"input_ids": torch.zeros(2, 7, dtype=torch.long), "attention_mask": torch.ones(2, 7),
                  "completion_mask": mask[pick], "ref_chosen_logps": reference_chosen[pair:pair + 1],
                  "ref_rejected_logps": reference_rejected[pair:pair + 1]}
        losses.append(DPOTrainer._compute_loss(self, lambda **_: part, inputs, False).item())
    return losses


def cpo(kind, c, r, beta, smoothing, gamma=0.0):
    self = types.SimpleNamespace(alpha=0.0, beta=beta, label_smoothing=smoothing, loss_type=kind, simpo_gamma=gamma,
                                 accelerator=types.SimpleNamespace(device="cpu"))
    return CPOTrainer.cpo_loss(self, c, r)[0].tolist()


print("sigmoid beta=0.1", dpo("sigmoid", 0.1))
print("sigmoid_norm beta=2", dpo("sigmoid_norm", 2.0))
print("ipo beta=0.1", dpo("ipo", 0.1))
print("hinge beta=0.5", dpo("hinge", 0.5))
# cDPO is the smoothed sigmoid of log-ratios; TRL keeps it in cpo_loss, which takes any two log-probs.
print("smoothed beta=0.1 e=0.1", cpo("sigmoid", chosen - reference_chosen, rejected - reference_rejected, 0.1, 0.1))
mean = lambda x, n: x / torch.tensor(n)
print("simpo beta=2 gamma=0.5", cpo("simpo", mean(chosen, chosen_tokens), mean(rejected, rejected_tokens), 2.0, 0.0, 0.5))
