"""Training: one loop for every model.

recipe    one YAML: model, objective, data, optim, trainer
run       recipe + folders -> objects -> the loop -> checkpoints; start reading here
trainer   THE loop: batches, updates, validation, saving, stopping
optim     optimiser of each part and its learning rate
schedule  learning rate as a function of the step
ema       running mean of the weights, the ones that are exported
state     what an exact resume needs, as safetensors and JSON
signals   Ctrl-C and SIGTERM as a request to stop
fit_kmeans, fit_schedule   last steps of a tokenizer and of a diffusion vocoder
logging   TensorBoard, metrics.jsonl and the progress bar
"""
