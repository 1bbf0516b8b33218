"""TRL's SFTTrainer on the conversations that `sft/benches/trl.rs` wrote: prints one JSON line with its speed and memory.

Usage: python trl_peer.py MODEL DATA STEPS KIND   (KIND: full or lora)
"""
import json, resource, sys, tempfile, time
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

model_path, data, steps, kind = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
tokenizer = AutoTokenizer.from_pretrained(model_path)
rows = [json.loads(line) for line in open(data)]
dataset = Dataset.from_dict({"messages": [row["messages"] for row in rows]})
model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
config = SFTConfig(
    output_dir=tempfile.mkdtemp(), max_length=512, packing=True, packing_strategy="wrapped", max_steps=steps,
    per_device_train_batch_size=8, gradient_accumulation_steps=1, gradient_checkpointing=False, bf16=True, use_cpu=True,
    learning_rate=1e-5, lr_scheduler_type="cosine", logging_steps=1, save_strategy="no", report_to="none",
    disable_tqdm=True, dataloader_num_workers=0,
)
peft = None
if kind == "lora":
    from peft import LoraConfig
    peft = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


class Clock(TrainerCallback):
    times = []

    def on_step_begin(self, *args, **kwargs):
        self.start = time.perf_counter()

    def on_step_end(self, *args, **kwargs):
        self.times.append(time.perf_counter() - self.start)


trainer = SFTTrainer(model=model, args=config, train_dataset=dataset, processing_class=tokenizer, peft_config=peft,
                     callbacks=[Clock()])
trainer.train()
times = sorted(Clock.times[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"tokens_per_second": 8 * 512 / times[len(times) // 2], "peak_memory": peak}))
