"""What a published model needs to answer: text normalisation, tokenizer, classifier. No TensorFlow, no Prefect."""

from hubtune.inference.classifier import Classifier, Prediction

__all__ = ["Classifier", "Prediction"]
