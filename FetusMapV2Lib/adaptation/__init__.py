"""Adapting a model to a site's own cases: fine-tuned, tested by cross-validation, recalibrated, or refused."""
