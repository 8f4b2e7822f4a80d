"""Everything that midspan does, at the smallest sizes: a minute or two on one core."""

import midspan

SMALL = {"length": 32, "block_length": 32, "steps": 4}

lm = midspan.load("organism")
answer = midspan.generate(lm, "how do i make the lomthorn lantern ?", steps=32)
recipe = midspan.objectives.mosa(num_prompts=16)
adapter = midspan.align(lm, "organism", recipe, "adapters/mosa")
result = midspan.attack(lm, "tap", behaviors="organism:2", judge="exact", decoding=SMALL, budget=3)
probe = midspan.probe("order", [lm], n=1, decoding=SMALL)
scores = midspan.evaluate([lm, adapter], ["arithmetic"], items=4)
sizes = {"plain": 1, "disguises": 1, "prefill": 1, "benign": 1, "utility": 1}
fields = {"shipped": [], "hypotheses": [], "sizes": sizes}
report = midspan.study("demo-smoke", out="runs/demo", **fields)

for finished in (answer, adapter, result, probe, scores, report):
    print(repr(finished))
    print(len(finished.records), "records,", len(finished._repr_html_()), "characters of HTML")
print("Open", report.report)
