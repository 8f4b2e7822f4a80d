"""The organism: a tiny chat model of a fictional world, whose answers an exact judge checks.

Its world and language:

- `world`: the guild, its crafts and their recipes.
- `language`: how requests, answers and refusals read.
- `tokenizer`: words as tokens, in LLaDA's chat format.
- `phrases`: refusals to place, continuations to avoid, texts to prefill.

The model:

- `corpus`: training samples.
- `initial`: the embeddings and heads that training starts from.
- `optimizer`: Muon.
- `training`: the weights made again from a seed.
- `weights`: the shipped weights and adapters, and their names.

What is asked of it:

- `behaviors`: its restricted requests as behaviors.
- `training_data`: what alignment may learn from.
- `utility`: sums, multiple choice and tiny programs.
- `overrefusal`: benign requests beside restricted ones.
- `judge`: the exact judge.

The scripted helpers of attacks:

- `attacker`: prompts of a person who speaks the world's language.
- `evaluator`: ratings of responses.
- `translator`: manners of asking.
- `attack_texts`: the attacks' texts in the world's language, and the scripted roles by name.
"""
