"""TRL's DPOTrainer on the pairs that `dpo/benches/trl.rs` wrote: prints one JSON line with its speed and memory.

Usage: python trl_peer.py MODEL DATA STEPS PAIRS KIND   (KIND: live or cached reference)
"""
import json, resource, sys, tempfile, time
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer

model_path, data, steps, pairs, kind = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
tokenizer = AutoTokenizer.from_pretrained(model_path)
rows = [json.loads(line) for line in open(data)]
dataset = Dataset.from_list([{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows])
model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
config = DPOConfig(
    output_dir=tempfile.mkdtemp(), max_length=2048, max_steps=steps, per_device_train_batch_size=pairs,
    gradient_accumulation_steps=1, gradient_checkpointing=False, bf16=True, use_cpu=True, learning_rate=1e-5, beta=0.1,
    lr_scheduler_type="cosine", logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
    dataloader_num_workers=0, precompute_ref_log_probs=kind == "cached",
)


class Clock(TrainerCallback):
    times = []

    def on_step_begin(self, *args, **kwargs):
        self.start = time.perf_counter()

    def on_step_end(self, *args, **kwargs):
        self.times.append(time.perf_counter() - self.start)


trainer = DPOTrainer(model=model, args=config, train_dataset=dataset, processing_class=tokenizer, callbacks=[Clock()])
trainer.train()
times = sorted(Clock.times[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"pairs_per_second": pairs / times[len(times) // 2], "peak_memory": peak}))
