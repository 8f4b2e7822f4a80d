"""Engine: attacks run over many behaviors at once.

What an attack is and may use:

- `attack`: an attack as a generator, its state, its attempts and its result.
- `calls`: what an attack may ask of a role, and the replies.
- `budget`: limits, expected cost and usage.
- `forecast`: what an attack can cost at most.

Who answers:

- `roles`: a role, and scripted ones.
- `local`: a local diffusion model as a role.
- `whitebox`: its likelihoods, losses and gradients.
- `endpoint`: a server as a role.
- `server`: the config of a server.
- `transport`: one request to a server, with its tries.

How it runs:

- `scheduler`: pending calls in queues, answered in full batches.
- `running`: one attack on one behavior while it runs.

What comes of it:

- `records`: results with verdicts, one record a behavior and attack.
- `outcomes`: rates of attacks, and pairs of models.
"""
