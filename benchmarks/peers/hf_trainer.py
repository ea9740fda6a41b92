"""Hugging Face Trainer on the classifier that hubtune fine-tunes: mean pooling, dropout, one linear layer.

    python -m benchmarks.peers.hf_trainer WEIGHTS TEXTS --padding exact

WEIGHTS is the folder with the model's original files, TEXTS one with train.csv, validation.csv and test.csv. Padding
`exact` is the Trainer at its best (dynamic padding, batches of similar length), `max_length` what the library's example
script for text classification does unless told otherwise. Prints one JSON line.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.peers.report import SPLITS, peak_mb, rate, read_texts, scores, shapes_summary, versions


def main() -> None:
    """Train, score, and print the figures."""
    parser = argparse.ArgumentParser(description="Fine-tuning with Hugging Face Trainer.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--padding", choices=["exact", "max_length"], default="exact")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--warmup-fraction", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    parser.add_argument("--keep", choices=["last", "best"], default="last", help="best: by macro-F1 on validation")
    arguments = parser.parse_args()
    with redirect_stdout(sys.stderr):
        report = fine_tune(arguments)
    print(json.dumps(report))


def fine_tune(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and score.

    Args:
        arguments: the command line's.

    Returns:
        The figures.
    """
    asked = time.perf_counter()
    import torch  # type: ignore[import-not-found, unused-ignore]
    from transformers import (  # type: ignore[import-not-found, unused-ignore]
        AutoTokenizer,
        DataCollatorWithPadding,
        PrinterCallback,
        Trainer,
        TrainingArguments,
        default_data_collator,
        set_seed,
    )

    imported = time.perf_counter()
    set_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.weights)
    exact = arguments.padding == "exact"
    texts = {split: read_texts(arguments.texts, split) for split in SPLITS}
    tokenised = time.perf_counter()
    examples = {split: _examples(tokenizer, *texts[split], arguments.max_length, exact) for split in SPLITS}
    loaded = time.perf_counter()
    model = _classifier(arguments.weights, max(texts["train"][1]) + 1, arguments.dropout, arguments.attention)
    clock = _clock()
    pad = DataCollatorWithPadding(tokenizer) if exact else default_data_collator

    def collate(features: list[dict[str, Any]]) -> Any:
        batch = pad(features)
        clock.saw(tuple(batch["input_ids"].shape))
        return batch

    rows, lengths = len(examples["train"]), [sum(example["attention_mask"]) for example in examples["train"]]
    steps = -(-rows // arguments.batch_size) * arguments.epochs
    with tempfile.TemporaryDirectory() as output:
        settings = TrainingArguments(
            output_dir=output,
            use_cpu=True,
            bf16=arguments.precision == "bfloat16",
            num_train_epochs=arguments.epochs,
            per_device_train_batch_size=arguments.batch_size,
            per_device_eval_batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=math.ceil(steps * arguments.warmup_fraction),
            weight_decay=arguments.weight_decay,
            max_grad_norm=1.0,
            train_sampling_strategy="group_by_length" if exact else "random",
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            eval_strategy="no",
            save_strategy="no",
            logging_strategy="epoch",
            report_to="none",
            disable_tqdm=True,
            seed=arguments.seed,
        )
        trainer = Trainer(model, settings, data_collator=collate, train_dataset=examples["train"], callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        if arguments.keep == "best":
            clock.watch(trainer, examples["validation"])
        ready = time.perf_counter()
        trainer.train()
        trained = time.perf_counter()
        clock.training = False
        after_training = peak_mb()
        clock.restore_best()
        # With batches of similar length, predict() reorders what it is given; its label_ids are in the same order.
        validation, test = (trainer.predict(examples[split]) for split in ("validation", "test"))
    return {
        "program": f"Trainer, padding {arguments.padding}",
        "rows": rows,
        "tokens": sum(lengths),
        "pairs": sum(length**2 for length in lengths),
        **shapes_summary(clock.shapes),
        "epoch_seconds": clock.seconds,
        "total_seconds": trained - ready,
        "examples_per_second": rate(rows, clock.seconds),
        "import_seconds": imported - asked,
        "tokenise_seconds": loaded - tokenised,
        "load_seconds": ready - loaded + tokenised - imported,
        "start_up_seconds": ready - loaded + tokenised - asked,
        "until_trained_seconds": trained - asked,
        "peak_mb": peak_mb(),
        "peak_after_training_mb": after_training,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        **scores(test.predictions, test.label_ids, validation.predictions, validation.label_ids),
        "keep": arguments.keep,
        "optimizer": str(settings.optim),
        "attention": arguments.attention,
        "threads": torch.get_num_threads(),
        "versions": versions("torch", "transformers", "accelerate"),
    }


def _examples(tokenizer: Any, texts: list[str], labels: list[int], max_length: int, exact: bool) -> list[Any]:
    encoded = tokenizer(
        texts,
        truncation=True,
        max_length=max_length,
        padding=False if exact else "max_length",
        return_token_type_ids=False,
    )
    columns = zip(encoded["input_ids"], encoded["attention_mask"], labels, strict=True)
    return [{"input_ids": ids, "attention_mask": mask, "labels": label} for ids, mask, label in columns]


def _classifier(weights: Path, classes: int, dropout: float, attention: str) -> Any:
    import torch
    from transformers import AutoModel
    from transformers.modeling_outputs import (  # type: ignore[import-not-found, unused-ignore]
        SequenceClassifierOutput,
    )

    class MeanPooledClassifier(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(weights, add_pooling_layer=False, attn_implementation=attention)
            self.dropout = torch.nn.Dropout(dropout)
            self.classifier = torch.nn.Linear(self.encoder.config.hidden_size, classes)
            # As hubtune's head begins.
            torch.nn.init.xavier_uniform_(self.classifier.weight)
            torch.nn.init.zeros_(self.classifier.bias)

        def forward(self, input_ids: Any, attention_mask: Any, labels: Any = None) -> Any:
            tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            share = attention_mask[:, :, None].to(tokens.dtype)
            vectors = (tokens * share).sum(1) / share.sum(1).clamp(min=1.0)
            logits = self.classifier(self.dropout(vectors))
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
            return SequenceClassifierOutput(loss=loss, logits=logits)

    return MeanPooledClassifier()


def _clock() -> Any:
    import numpy as np
    from sklearn.metrics import f1_score
    from transformers import TrainerCallback

    class EpochClock(TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Times epochs, notes the shapes of training batches, and keeps the best weights where that is asked for."""

        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.shapes: list[tuple[int, int]] = []
            self.training = True
            self._watched: tuple[Any, Any] | None = None
            self._best: tuple[float, dict[str, Any]] = (-1.0, {})

        def watch(self, trainer: Any, validation: list[Any]) -> None:
            self._watched = trainer, validation

        def saw(self, shape: tuple[int, int]) -> None:
            if self.training:
                self.shapes.append(shape)

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self._started = time.perf_counter()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self._started)
            if self._watched is None:
                return
            trainer, validation = self._watched
            self.training = False
            found = trainer.predict(validation)
            self.training = True
            score = float(f1_score(found.label_ids, np.argmax(found.predictions, 1), average="macro"))
            if score > self._best[0]:
                weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
                self._best = score, weights

        def restore_best(self) -> None:
            if self._watched is not None:
                self._watched[0].model.load_state_dict(self._best[1])

    return EpochClock()


if __name__ == "__main__":
    main()
