"""What a published model needs to answer: text normalisation, tokenizer, classifier. No TensorFlow, no Prefect."""
